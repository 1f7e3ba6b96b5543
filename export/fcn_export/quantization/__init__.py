"""INT8: which layers, which frames to calibrate with, and whether the labels survive it."""
