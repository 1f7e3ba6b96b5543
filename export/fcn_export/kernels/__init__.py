"""The GPU kernels, in Triton, compiled ahead of time."""
