"""Which layers a run taps and which matrices it trains, from names and shapes alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from srmu.config.settings import RETAIN_WEIGHT_NEAR, UnlearnConfig
from srmu.surgery.checkpoint import Checkpoint
from srmu.surgery.layers import (
    AUTO_DEPTH,
    AUTO_DEPTH_NEAR,
    resolve_layer,
    resolve_repair_layer,
    resolve_trained_layers,
    select_matrices,
)
from srmu.surgery.truncate import Skeleton, build_skeleton


@dataclass(frozen=True)
class Matrices:
    """What a run trains.

    Attributes:
        layer_id: Tapped layer.
        repair_layer: Tapped layer of the repair, above it; none = nothing is repaired.
        parameter_names: Trained layer -> names, within it, of the trained matrices; those above `layer_id` are the
            repair's.
        num_trained: Trained entries in all.
        skeleton: The model up to the upper of these layers, without weights.
    """

    layer_id: int
    repair_layer: int | None
    parameter_names: dict[int, tuple[str, ...]]
    num_trained: int
    skeleton: Skeleton


def choose_matrices(checkpoint: Checkpoint, config: UnlearnConfig, num_layers: int) -> Matrices:
    """Resolve what the settings leave to the model.

    Raises:
        InputError: If a layer or a matrix is not in the model.
    """
    target, training = config.target, config.training
    near = target.method in RETAIN_WEIGHT_NEAR
    layer_id = resolve_layer(target.layer, num_layers, AUTO_DEPTH_NEAR if near else AUTO_DEPTH)
    repair_layer = resolve_repair_layer(target.repair_layer, num_layers, layer_id) if target.repair else None
    top = layer_id if repair_layer is None else repair_layer
    skeleton = build_skeleton(checkpoint, top + 1, trust_remote_code=config.model.trust_remote_code)
    trained_ids: Sequence[int] = resolve_trained_layers(
        training.trained_layers, training.num_trained_layers, layer_id, skeleton.layers[layer_id]
    )
    parameter_names: dict[int, tuple[str, ...]] = {}
    num_trained = 0
    for index in (*trained_ids, *range(layer_id + 1, top + 1)):
        layer = skeleton.layers[index]
        names = select_matrices(
            layer, roles=training.target_roles, modules=training.target_modules, family=skeleton.family
        )
        parameter_names[index] = tuple(names)
        num_trained += sum(layer.get_parameter(name).numel() for name in names)
    return Matrices(layer_id, repair_layer, parameter_names, num_trained, skeleton)


def resolved(chosen: Matrices) -> dict[str, Any]:
    """The settings that have been resolved, by name; a run with them chooses the same."""
    return {
        "layer": chosen.layer_id,
        "trained_layers": tuple(layer for layer in chosen.parameter_names if layer <= chosen.layer_id),
        "repair": chosen.repair_layer is not None,
        "repair_layer": "auto" if chosen.repair_layer is None else chosen.repair_layer,
    }
