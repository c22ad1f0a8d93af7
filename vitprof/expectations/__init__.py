"""Counts that must hold: what is expected, files of it, and how it came out."""
