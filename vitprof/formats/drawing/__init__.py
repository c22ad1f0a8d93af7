"""Text charts of a sweep for a terminal, and figures for a paper."""
