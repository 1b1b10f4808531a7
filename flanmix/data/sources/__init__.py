"""Where raw records come from: files, Python functions, TFDS, SeqIO."""
