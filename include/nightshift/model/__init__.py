"""The model as one ONNX file: built with its transforms, checked before it is loaded, compared with its origin."""
