"""`python -m flanmix` is the same as `flanmix`."""

from flanmix.cli import console

console()
