"""What happens to pixels between a file and a network: numpy and OpenCV, no torch."""
