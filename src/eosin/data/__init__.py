"""Readers of datasets, and what keeps them honest: splits and audit."""
