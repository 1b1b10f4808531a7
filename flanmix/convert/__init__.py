"""Weights of others: families of models, sources of tensors, and folders written for others."""
