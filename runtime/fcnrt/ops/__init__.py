"""The last step, scores to labels: its definition in plain numpy, and the fast way on the host."""
