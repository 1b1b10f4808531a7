"""Compile fast: these models are tiny, so nearly all of the tests' time is the compiler's."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="package")
def quick_compiles():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
