"""flanmix: instruction tuning in the manner of Flan, in JAX.

The names below are the Python API; `flanmix --help` is the command line. Each is imported when it
is first used, so that `import flanmix` costs nothing:

    import flanmix

    flanmix.prepare(["pocket"], flanmix.Store("store"))
    mixture = flanmix.load_mixture("pocket_train", flanmix.Store("store"))
    flanmix.generate("runs/a", ["What is 2 + 3?"])[0].text
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flanmix.data.chat.conversation import render_chat
    from flanmix.data.chat.template import find_template
    from flanmix.data.loader import Loader, LoaderConfig
    from flanmix.data.sources.api import register_source
    from flanmix.data.store.prepare import prepare
    from flanmix.data.store.store import Store
    from flanmix.data.vocabulary import load_vocabulary
    from flanmix.errors import UserError
    from flanmix.evaluate.evaluator import eval_tasks, evaluate
    from flanmix.evaluate.metrics import metric
    from flanmix.evaluate.sampling import Sampling
    from flanmix.learn.checkpoint import open_checkpoint
    from flanmix.learn.loss import CrossEntropy, register_loss
    from flanmix.model.api import register_model
    from flanmix.registry.collections import register_collection
    from flanmix.registry.loading import load_mixture, load_task
    from flanmix.train.generation import generate

__version__ = "0.1.0"

_WHERE = {
    "CrossEntropy": "flanmix.learn.loss",
    "Loader": "flanmix.data.loader",
    "LoaderConfig": "flanmix.data.loader",
    "Sampling": "flanmix.evaluate.sampling",
    "Store": "flanmix.data.store.store",
    "UserError": "flanmix.errors",
    "eval_tasks": "flanmix.evaluate.evaluator",
    "evaluate": "flanmix.evaluate.evaluator",
    "find_template": "flanmix.data.chat.template",
    "generate": "flanmix.train.generation",
    "load_mixture": "flanmix.registry.loading",
    "load_task": "flanmix.registry.loading",
    "load_vocabulary": "flanmix.data.vocabulary",
    "metric": "flanmix.evaluate.metrics",
    "open_checkpoint": "flanmix.learn.checkpoint",
    "prepare": "flanmix.data.store.prepare",
    "register_collection": "flanmix.registry.collections",
    "register_loss": "flanmix.learn.loss",
    "register_model": "flanmix.model.api",
    "register_source": "flanmix.data.sources.api",
    "render_chat": "flanmix.data.chat.conversation",
}
__all__ = [
    "CrossEntropy",
    "Loader",
    "LoaderConfig",
    "Sampling",
    "Store",
    "UserError",
    "eval_tasks",
    "evaluate",
    "find_template",
    "generate",
    "load_mixture",
    "load_task",
    "load_vocabulary",
    "metric",
    "open_checkpoint",
    "prepare",
    "register_collection",
    "register_loss",
    "register_model",
    "register_source",
    "render_chat",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'flanmix' has no attribute {name!r}")
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
