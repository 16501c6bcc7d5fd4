"""Layers that stay on disk: each is read when its turn comes in a pass, and dropped after it.

Transformers and Accelerate do the reading, from the checkpoint's own files; this module says which parts stay there.
"""

import logging
import shutil
import tempfile
import weakref
from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from srmu.runtime.cache import cache_directory

DISK = "disk"


def streaming_options(
    skeleton: nn.Module, layers_name: str, layer_ids: Collection[int], device: torch.device
) -> dict[str, Any]:
    """The arguments of `from_pretrained`, so that these decoder layers stay on disk and all else goes to `device`.

    Weights that the library must convert (the fused experts of some families) cannot be read from the checkpoint's own
    files again and again; it writes them to a folder in srmu's cache, which `tie_folder` removes.

    Args:
        skeleton: The model, on the meta device will do.
        layers_name: Dotted name of its decoder layers.
        layer_ids: Those that stay on disk.
        device: Where every layer is computed.
    """
    places: dict[str, Any] = {}
    # As Accelerate names devices.
    where = device.index if device.index is not None else str(device)

    def place(module: nn.Module, prefix: str) -> None:
        places.update({prefix + name: where for name, _ in module.named_parameters(recurse=False)})
        for name, child in module.named_children():
            path = prefix + name
            if path == layers_name:
                places.update(
                    {f"{path}.{i}": DISK if int(i) in layer_ids else where for i, _ in child.named_children()}
                )
            elif layers_name.startswith(path + "."):
                place(child, path + ".")
            else:
                places[path] = where

    place(skeleton, "")
    # It warns of weights that are not in memory, which is what was asked for.
    logging.getLogger("accelerate.big_modeling").setLevel(logging.ERROR)
    cache_directory().mkdir(parents=True, exist_ok=True)
    return {"device_map": places, "offload_folder": tempfile.mkdtemp(prefix="layers-", dir=cache_directory())}


def tie_folder(model: Any, options: dict[str, Any]) -> None:
    """Remove the folder of `streaming_options` when the model is gone."""
    weakref.finalize(model, shutil.rmtree, options["offload_folder"], ignore_errors=True)


def is_streamed(model: Any) -> bool:
    """Whether layers of this model are read from disk at every pass."""
    return DISK in (getattr(model, "hf_device_map", None) or {}).values()
