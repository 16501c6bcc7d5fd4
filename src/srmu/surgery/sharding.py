"""Layers below the trained ones, divided over ranks by FSDP2: each rank holds a part, and all gather a layer to run it.

The trained layers stay whole on every rank, since they are replayed with gradient at every step; masters live outside
of the modules anyway. Gathering a layer is work that all ranks must do at the same time: see `Replayer.extra_passes`.
"""

from srmu.runtime.processes import world_size
from srmu.surgery.truncate import TruncatedModel


def shard_below(truncated: TruncatedModel, first_layer: int) -> None:
    """Divide the layers below `first_layer` over the ranks, in place; values and results stay as they are.

    Args:
        truncated: The same on all ranks.
        first_layer: The lowest trained layer.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    device = next(truncated.inner.parameters()).device
    mesh = init_device_mesh(device.type, (world_size(),))
    for layer in truncated.layers[:first_layer]:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)


def is_sharded(truncated: TruncatedModel) -> bool:
    """Whether layers of this model are divided over ranks."""
    if world_size() == 1:
        return False
    from torch.distributed.tensor import DTensor

    return any(isinstance(parameter, DTensor) for parameter in truncated.layers[0].parameters())
