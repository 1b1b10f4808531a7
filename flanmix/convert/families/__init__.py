"""The families that come with flanmix, a module each; importing this package registers them."""

from flanmix.convert.families import (  # noqa: F401  # they register themselves
    gemma,
    llama,
    mistral,
    qwen,
    t5,
)
