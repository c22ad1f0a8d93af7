"""The models as ordinary torch modules, with the same module paths as the formulas."""
