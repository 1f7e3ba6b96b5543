"""Contenders, timed side by side."""
