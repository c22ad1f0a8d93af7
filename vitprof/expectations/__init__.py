"""Counts that must hold: expectations, files of them, and their outcomes."""
