"""Records: what the evaluator writes: reports, certificates, receipts, archives of inputs."""
