"""Whether a mesh shards the parameters that it is chosen to shard, said before they are made.

A dimension that the mesh can't divide is whole on every device. With `d_model` 2,052 on fsdp 8 that
is every parameter: eight devices hold, and update, what one would.

    check_replicated(run.mesh, learner.abstract_params)       # under the mesh
    -> 25% of the parameters are whole on every device: ...

A mesh that shards the batch alone replicates the parameters by design, and nothing is said.
"""

from typing import Any

import jax

from flanmix.console import say
from flanmix.errors import UserError
from flanmix.model.sharding import replicated
from flanmix.train.settings import MeshConfig

_LEAST_SAID = 0.01  # norms and tables of position biases, which are never sharded, are less


def check_replicated(mesh: MeshConfig, params: Any) -> None:
    """Says which share of the parameters is whole on every device, under the mesh that is set.

    Args:
        mesh: how much of them may be.
        params: the abstract parameters, as the mesh shards them.

    Raises:
        UserError: it is more than `mesh.max_replicated`.
    """
    sizes = jax.sharding.get_abstract_mesh().shape
    fsdp, tensor = sizes.get("fsdp", 1), sizes.get("tensor", 1)
    if fsdp * tensor == 1:
        return
    found = replicated(params)
    line = (
        f"{found.share:.0%} of the parameters are whole on every device: fsdp={fsdp} x "
        f"tensor={tensor} can't divide them (largest: {found.largest})"
    )
    if found.share > mesh.max_replicated:
        raise UserError(
            f"{line}: choose sizes that divide the model's width and its heads, or allow it with "
            f"--gin.MeshConfig.max_replicated={-(-found.share // 0.01) / 100:g}"
        )
    if found.share >= _LEAST_SAID:
        say(line)
