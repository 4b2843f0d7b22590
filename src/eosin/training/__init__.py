"""From a split manifest to a trained Run."""
