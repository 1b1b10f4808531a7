"""Decoding, scoring, and what a model can do."""
