"""From Runs, Predictions and Evaluations to pictures and one HTML page; no torch."""
