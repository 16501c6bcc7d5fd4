"""The metrics of steps: read from the device, and checked."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from srmu.errors import RunError


def read_metrics(pending: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Numbers in place of tensors; this waits for the device."""
    return [
        {key: value.item() if isinstance(value, Tensor) else value for key, value in record.items()}
        for record in pending
    ]


def check_metrics(records: Sequence[Mapping[str, Any]]) -> None:
    """Stop a run whose numbers say that it cannot end well.

    Raises:
        RunError: If a loss or gradient is not finite, or an importance map is zero everywhere.
    """
    for record in records:
        if not (math.isfinite(record["loss"]) and math.isfinite(record["gradient_norm"])):
            raise RunError(
                f"The loss became {record['loss']} (gradient norm {record['gradient_norm']}) "
                f"at step {record['step']}; no checkpoint was written, the metrics are kept. "
                "Lower --learning-rate or --steering-coefficient."
            )
        if record["target_norm"] == 0:
            raise RunError(
                f"The importance map became zero for every feature at step {record['step']}: the forget texts use "
                "none more than the retain texts do. Give other retain texts, or another --importance-map."
            )
