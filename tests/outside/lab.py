"""A plugin as somebody else would write it: a model, a loss, a source and a metric.

It uses what flanmix exports and the protocols, and touches no file of the package.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

import flanmix
from flanmix.data.sources.slices import sliced
from flanmix.learn.loss import token_losses
from flanmix.learn.sums import task_sums
from flanmix.model.api import Compute
from flanmix.model.params import parameter
from flanmix.model.sharding import constrain, spec


class Lines:
    """Every line of a text file beside the card is a record: "text = answer"."""

    cheap, own_splits, settings = True, True, ()

    def rows(self, task, split, expression, *, data_dir, warn):
        return sliced(lambda name: self._lines(task, name), expression, warn)

    def files(self, task, data_dir):
        return {path.name: path for path in (task.folder / task.source.location).glob("*.txt")}

    def _lines(self, task, name):
        path = task.folder / task.source.location / name
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            text, answer = line.split(" = ")
            yield f"{path} line {number}", {"text": text, "answer": answer}


flanmix.register_source("lines", Lines())


@flanmix.metric(primary="first_letter")
def first_letter(references, predictions):
    """Whether the first letter is right; t5 has nothing like it."""
    right = [p[:1] in {r[:1] for r in rs} for rs, p in zip(references, predictions, strict=True)]
    return {"first_letter": 100.0 * sum(right) / len(right)}


@flanmix.register_loss
@dataclass(frozen=True)
class Focal:
    """Cross entropy that cares less for tokens that the model knows (Lin et al. 2017)."""

    gamma: float = 1.0

    def __call__(self, model, batch, *, dropout_rng, num_tasks):
        logits = model.logits(model.hidden(batch, dropout_rng=dropout_rng))
        plain = token_losses(logits, batch["decoder_target_tokens"], flanmix.CrossEntropy())
        weights = batch["decoder_loss_weights"]
        focal = (1 - jnp.exp(-plain.cross_entropy_BT)) ** self.gamma * plain.cross_entropy_BT
        sums = task_sums(plain, weights, batch["decoder_task_ids"], num_tasks)
        return jnp.sum(focal * weights), sums


@flanmix.register_model
@dataclass(frozen=True)
class BagConfig:
    """A decoder that reads the sum of the embeddings of a segment so far."""

    vocab_size: int = 384
    width: int = 16
    dropout_rate: float = 0.0
    architecture = "causal"

    def init(self, rng, compute=None):
        return Bag(self, compute or Compute(), rng)


class Bag(nnx.Module):
    """The model of `BagConfig`."""

    def __init__(self, config, compute, rng):
        self.config, self.compute = config, compute
        into, out = jax.random.split(rng)
        shape = (config.vocab_size, config.width)
        self.embedding, self.head = (
            parameter(
                jax.random.normal(key, shape, out_sharding=spec("vocab", None)),
                stacked=False,
                decays=True,
            )
            for key in (into, out)
        )

    def __call__(self, batch, *, dropout_rng=None):
        return self.logits(self.hidden(batch, dropout_rng=dropout_rng))

    def hidden(self, batch, *, dropout_rng=None):
        segments = constrain(batch["decoder_segment_ids"], "batch", None)
        embedded = self._embed(batch["decoder_input_tokens"])
        past = jnp.tril(jnp.ones((segments.shape[1],) * 2))
        seen = past[None] * (segments[:, :, None] == segments[:, None, :])
        total = jnp.einsum("bts,bsd->btd", seen, embedded)
        return jnp.tanh(total / seen.sum(-1, keepdims=True))

    def logits(self, hidden):
        out = spec("batch", None, "vocab")
        return jnp.einsum("btd,vd->btv", hidden, self.head[...], out_sharding=out)

    def prefill(self, batch, max_new_tokens):
        live = constrain(batch["decoder_segment_ids"], "batch", None)[:, :, None] > 0
        total = jnp.where(live, self._embed(batch["decoder_input_tokens"]), 0).sum(1)
        cache = (total, live.sum(1).astype(jnp.float32))
        return self._read(cache), cache

    def decode_step(self, cache, tokens):
        cache = (cache[0] + self._embed(tokens[:, None])[:, 0], cache[1] + 1)
        return self._read(cache), cache

    def _read(self, cache):
        total, count = cache
        return self.logits(jnp.tanh(total / jnp.maximum(count, 1))[:, None])[:, 0]

    def _embed(self, tokens):
        tokens = constrain(tokens, "batch", None)
        return self.embedding[...].at[tokens].get(out_sharding=spec("batch", None, None))
