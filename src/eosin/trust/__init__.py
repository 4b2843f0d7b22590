"""What a Run knows: what is familiar to it, which classes it cannot rule out, when to abstain."""
