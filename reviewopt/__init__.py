"""reviewopt labels tables of reviews for a small, known fraction of the naive bill."""

__version__ = "0.1.0"
