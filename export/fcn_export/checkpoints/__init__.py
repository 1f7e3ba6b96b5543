"""Checkpoint files: opened without running their code, and recognised."""
