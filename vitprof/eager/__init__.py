"""The memory of a step of eager PyTorch, on paper."""
