"""Parts that models are made of: a file each, with its options and its lines."""
