"""The two models, T5 and a decoder, and the one file that names mesh axes."""
