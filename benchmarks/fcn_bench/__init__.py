"""Training, parity and speed; what the scripts in `benchmarks/` call."""
