"""ONNX in, ONNX out: canonical form, finding SE blocks, fusing, FP16, names, costs."""
