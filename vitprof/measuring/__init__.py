"""Measurements on this machine: timed turns, and trials of a batch, each in its own process."""
