"""What changes from step to step, as named tensors: the resumable state of a run, without pickles."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from srmu.errors import InputError
from srmu.objective.importance import ActivationSums, ImportanceFitter

Masters = Mapping[tuple[int, str], Tensor]
_ADAM_PARTS = ("step", "exp_avg", "exp_avg_sq")
_SUM_PARTS = ("count", "features", "norms")


def pack_state(
    next_step: int,
    masters: Masters,
    averages: Masters,
    optimizer: torch.optim.Optimizer,
    fitters: Mapping[str, ImportanceFitter],
    losses: Sequence[float],
) -> dict[str, Tensor]:
    """Steps done, masters, AdamW's moments, the map statistics of each topic, and losses.

    Args:
        next_step: Steps done.
        masters: (layer id, name within the layer) -> master.
        averages: The same, of the last steps; empty before them.
        optimizer: Over the masters.
        fitters: By topic.
        losses: Forget losses of all steps, where the run's length is found from them.
    """
    tensors = {"next_step": torch.tensor(next_step), "losses": torch.tensor(losses, dtype=torch.float64)}
    for (layer_id, name), master in masters.items():
        key = f"{layer_id}.{name}"
        tensors[f"master.{key}"] = master.detach()
        if (layer_id, name) in averages:
            tensors[f"average.{key}"] = averages[layer_id, name]
        for part, value in optimizer.state.get(master, {}).items():
            tensors[f"adam.{part}.{key}"] = torch.as_tensor(value)
    for topic, fitter in fitters.items():
        for side, sums in (("forget", fitter.forget), ("retain", fitter.retain)):
            if sums is not None:
                for part in _SUM_PARTS:
                    tensors[f"map.{topic}.{side}.{part}"] = getattr(sums, part)
    return {key: value.contiguous() for key, value in tensors.items()}


def unpack_state(
    tensors: Mapping[str, Tensor],
    masters: Masters,
    averages: dict[tuple[int, str], Tensor],
    optimizer: torch.optim.Optimizer,
    fitters: Mapping[str, ImportanceFitter],
    device: torch.device,
) -> tuple[int, list[float]]:
    """Fill masters, averages, moments and statistics from what `pack_state` gave; returns steps done and losses.

    Raises:
        InputError: If the state is another run's.
    """
    for (layer_id, name), master in masters.items():
        found = tensors.get(f"master.{layer_id}.{name}")
        if not {"next_step", "losses"} <= tensors.keys() or found is None or found.shape != master.shape:
            raise InputError(
                f"The saved state does not belong to this run: it does not hold '{layer_id}.{name}' with shape "
                f"{list(master.shape)}. Begin the run anew."
            )
    with torch.no_grad():
        for (layer_id, name), master in masters.items():
            key = f"{layer_id}.{name}"
            master.copy_(tensors[f"master.{key}"])
            if f"average.{key}" in tensors:
                averages[layer_id, name] = tensors[f"average.{key}"].to(master.device).clone()
            if f"adam.step.{key}" in tensors:
                optimizer.state[master] = {
                    part: tensors[f"adam.{part}.{key}"].to(master.device).clone() for part in _ADAM_PARTS
                }
    for topic, fitter in fitters.items():
        for side in ("forget", "retain"):
            if f"map.{topic}.{side}.count" in tensors:
                read = {part: tensors[f"map.{topic}.{side}.{part}"].to(device) for part in _SUM_PARTS}
                setattr(fitter, side, ActivationSums(**read))
    return int(tensors["next_step"]), tensors["losses"].tolist()
