"""What teams hand in, and the checks before anything is unpacked."""
