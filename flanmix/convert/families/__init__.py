"""The families that come with flanmix, a module each; importing this package registers them."""

from flanmix.convert.families import llama, t5  # noqa: F401  # they register themselves
