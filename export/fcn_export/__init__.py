"""Trained FCN checkpoints to ONNX files and TensorRT engines; what the scripts in `export/` call."""
