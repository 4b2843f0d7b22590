"""From a Run with PyTorch weights to one whose network is a graph."""
