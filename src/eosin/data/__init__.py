"""Datasets: download, readers, splits, audit, tiles of slides, and synthetic tissue."""
