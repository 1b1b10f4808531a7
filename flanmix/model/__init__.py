"""Models: what one offers (`api`), T5 and a decoder, their parts, and the names of mesh axes.

from flanmix.model.api import MODELS
model = MODELS["T5Config"](d_model=64).init(jax.random.key(0))
"""

# Importing them registers them.
from flanmix.model import decoder, t5  # noqa: F401
