"""Tokenizers by the kind of their files; `flanmix.data.vocabulary` chooses one by name."""
