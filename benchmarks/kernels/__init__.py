"""The plugin's kernels on a GPU, against torch.compile of the same block."""
