"""Named sizes, options and amounts with units."""
