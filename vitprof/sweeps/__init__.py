"""Costs over ranges of options: axes, points, arrays, and crossovers of two costs."""
