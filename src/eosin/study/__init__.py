"""Whole studies: one TOML, many Runs, one comparison; stopped and resumed at will."""
