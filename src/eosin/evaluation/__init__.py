"""From Predictions to figures with intervals; numpy only, no torch."""
