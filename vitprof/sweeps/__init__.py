"""What costs over ranges of options: axes, points, arrays, and where two costs cross."""
