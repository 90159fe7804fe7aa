"""What the Linux kernel enforces: control groups, system call filters and file rules."""
