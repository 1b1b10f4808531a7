"""Where raw records come from: one file a kind of source, each in the table `api.SOURCES`."""

from flanmix.data.sources import files, python, seqio, tfds  # noqa: F401  each registers its kinds
