"""From an upstream network to a verified ONNX file."""
