"""Contamination: what training records share with test records."""
