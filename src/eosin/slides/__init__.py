"""Whole slides: opening them, tiles at a stated um/px, and results that lie on them."""
