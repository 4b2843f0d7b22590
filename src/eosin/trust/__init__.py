"""What a Run knows of itself, and how far its answers can be believed; no torch."""
