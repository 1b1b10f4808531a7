"""Prepared records on disk."""
