"""eosin: honest, fast, explainable classification of breast-histopathology images."""

__version__ = "0.1.0"
