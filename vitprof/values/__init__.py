"""Numbers that know their names: sizes, options, bytes."""
