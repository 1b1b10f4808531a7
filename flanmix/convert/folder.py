"""A pretrained model as others hand it on: configuration, weights and tokenizer of a folder.

    found = open_pretrained("smollm2")          # a Hugging Face folder, or org/name on its hub
    found.config                                -> DecoderConfig(vocab_size=49152, ...)
    with jax.set_mesh(mesh):
        params = found.params(Compute())        # straight to the devices
    found.foreign["config"]["model_type"]       -> "llama"

Whoever starts from a folder goes through here: the verb `convert`, and a run's INITIALIZE_FROM.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flanmix.convert.families  # noqa: F401  # they register themselves
from flanmix.convert.family import Family, family_of
from flanmix.convert.loading import read_params
from flanmix.convert.safetensors_folder import SafetensorsFolder
from flanmix.convert.source import TensorSource
from flanmix.errors import UserError
from flanmix.model.api import Compute, ModelConfig
from flanmix.model.params import Params

CONFIG = "config.json"
GENERATION = "generation_config.json"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
# What is fetched of a hub's repository: no code, nothing pickled.
_FETCHED = ("*.safetensors", "*.json", "*.model", "*.jinja", "merges.txt")


@dataclass(frozen=True)
class Pretrained:
    """A pretrained model that was found and whose configuration can be made here.

    Attributes:
        source: its tensors.
        family: names them.
        config: our configuration.
        foreign: its own documents: `config`, and `generation_config` where there is one.
        folder: where its tokenizer's files are; None where it has no folder.
    """

    source: TensorSource
    family: Family
    config: ModelConfig
    foreign: Mapping[str, Any]
    folder: Path | None = None

    def params(self, compute: Compute) -> Params:
        """Returns the parameters under the mesh that is set; see `read_params`."""
        return read_params(self.family, self.config, self.source, compute)


def is_pretrained(source: str | Path) -> bool:
    """Returns whether a name is a Hugging Face folder, or one of its hub where no folder is."""
    path = Path(source).expanduser()
    if path.exists():
        return (path / CONFIG).is_file()
    return _HUB_NAME.fullmatch(str(source)) is not None and not path.parent.exists()


def open_pretrained(source: str | Path) -> Pretrained:
    """Opens a Hugging Face folder; a hub's name is fetched first, by its own library.

    Raises:
        UserError: it is none, it can't be fetched, its weights are damaged, or it is a model that
            can't be made here.
    """
    folder = Path(source).expanduser()
    if not folder.exists() and is_pretrained(source):
        folder = _fetched(str(source))
    document = read_document(folder / CONFIG)
    if document is None:
        raise UserError(f"{folder} has no {CONFIG}: name a Hugging Face folder")
    if quantized := document.get("quantization_config"):
        kind = quantized.get("quant_method") if isinstance(quantized, dict) else quantized
        raise UserError(
            f"{folder / CONFIG}: quantization_config ({kind}): quantized weights are not read; "
            "name a folder whose weights are float32, float16 or bfloat16"
        )
    generation = read_document(folder / GENERATION)
    foreign = {"config": document} | ({"generation_config": generation} if generation else {})
    return pretrained_of(foreign, SafetensorsFolder(folder), folder)


def pretrained_of(
    foreign: Mapping[str, Any], source: TensorSource, folder: Path | None
) -> Pretrained:
    """Returns the pretrained model that a configuration and tensors make.

    Raises:
        UserError: the model can't be made here.
    """
    try:
        family = family_of(foreign["config"])
        config = family.config(foreign["config"])
    # Whatever a family stumbles on where a field is not what it takes it for.
    except (UserError, KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        said = what if what.startswith(CONFIG) else f"{CONFIG}: {what}"
        raise UserError(f"{source.place}, {said}") from None
    return Pretrained(source, family, config, foreign, folder)


def read_document(path: Path) -> dict[str, Any] | None:
    """Returns a JSON object of a file; None where there is no such file.

    Raises:
        UserError: it is no JSON object.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} can't be read as JSON: {error}") from None
    if not isinstance(document, dict):
        raise UserError(f"{path} is no JSON object")
    return document


def _fetched(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(_FETCHED)))
    except Exception as error:  # its own errors, and those of the network below it
        text = str(error).strip().splitlines()
        reason = text[0] if text else type(error).__name__
        raise UserError(
            f"'{name}' is no folder here, and can't be fetched from the hub ({reason}): name a "
            "folder, or try again with a network"
        ) from None
