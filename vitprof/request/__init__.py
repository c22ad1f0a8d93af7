"""What is asked for: a model, a workload, a GPU, what is laid side by side."""
