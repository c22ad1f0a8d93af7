"""The models running: ordinary torch modules whose paths are those of the formulas."""
