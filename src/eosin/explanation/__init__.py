"""Heatmaps, and how far to believe them."""
