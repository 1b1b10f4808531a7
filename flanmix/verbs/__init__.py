"""The stories: one file a verb, told from top to bottom; the only floor that sees gin."""
