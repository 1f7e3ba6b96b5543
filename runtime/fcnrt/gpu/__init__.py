"""The GPU without C: driver, arrays, kernels compiled ahead of time, and their proofs."""
