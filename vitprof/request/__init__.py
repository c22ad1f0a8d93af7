"""Requests: a model, a workload, a GPU, the models of a comparison."""
