"""PyTorch, TensorFlow, ONNX Runtime and their CUDA libraries."""
