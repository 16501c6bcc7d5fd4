"""Where a replay can begin inside the first trained layer, behind everything in it that is frozen.

Most decoder layers end with `residual + down_proj(inner)`. Where only the down-projection of the first trained layer is
trained, `residual` and `inner` are frozen, so that the layer's attention and its other matrices need no replay.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srmu.surgery.taps import ModuleCall, tapped_inputs, tapped_outputs


@dataclass(frozen=True)
class LateStart:
    """The two modules of a layer between which `output = residual + last(inner)` holds.

    Attributes:
        last_name: Name, within the layer, of the module with all of the layer's trained parameters; it takes `inner`.
        residual_name: Name of a module that takes `residual`.
        inner_size: Features of `inner`.
    """

    last_name: str
    residual_name: str
    inner_size: int


@torch.no_grad()
def find_late_start(layer: nn.Module, trained: Sequence[str], run: Callable[[], object]) -> LateStart | None:
    """Look for the two modules by running the layer once; they are taken only where the sum has the layer's very bits.

    No list of families is needed: parallel residuals, norms behind the matrix and experts fail the comparison.

    Args:
        layer: The first trained layer.
        trained: Names of its trained parameters.
        run: Runs the model that the layer is part of, on any tokens.

    Returns:
        None where the layer must be replayed as a whole.
    """
    homes = {name.rpartition(".")[0] for name in trained}
    if len(homes) != 1 or "" in homes:
        return None
    (last_name,) = homes
    modules = {name: module for name, module in layer.named_modules() if name}
    with tapped_inputs(modules) as calls, tapped_outputs({"last": modules[last_name], "layer": layer}) as outputs:
        run()
    if len(calls[last_name]) != 1 or not _takes_hidden_alone(calls[last_name][0]):
        return None
    added, output = outputs["last"][0], outputs["layer"][0]
    for name, made in calls.items():
        if len(made) == 1 and _is_sum(output, made[0].hidden, added):
            return LateStart(last_name, name, int(calls[last_name][0].hidden.shape[-1]))
    return None


def _takes_hidden_alone(call: ModuleCall) -> bool:
    return isinstance(call.hidden, Tensor) and call.hidden.dim() == 3 and not call.args and not call.kwargs


def _is_sum(output: Tensor, residual: object, added: Tensor) -> bool:
    same_shape = isinstance(residual, Tensor) and residual.shape == added.shape == output.shape
    return same_shape and torch.equal(residual + added, output)  # type: ignore[operator]
