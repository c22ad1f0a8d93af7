"""Steps that run, in torch: for real, on fake tensors as a trace, and in a trial's process."""
