"""From a Run and images to Predictions."""
