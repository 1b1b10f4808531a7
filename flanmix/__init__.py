"""flanmix: instruction tuning in the manner of Flan, in JAX."""

__version__ = "0.1.0"
