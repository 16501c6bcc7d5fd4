"""Short runs of the engine on tiny checkpoints: rows, topics and a solver without the rest of a run."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from families import TAPPED_LAYER, TRAINED_LAYERS
from srmu.config.settings import make_config
from srmu.inputs.rows import TokenRows
from srmu.solver.gradient import GradientSolver
from srmu.solver.topics import TopicRows
from srmu.surgery.checkpoint import open_checkpoint
from srmu.surgery.layers import select_matrices
from srmu.surgery.truncate import TruncatedModel, load_truncated

SETTINGS: dict[str, Any] = {
    "steps": 3, "forget_batch_size": 3, "retain_batch_size": 2, "max_length": 32, "learning_rate": 1e-2,
    "retain_weight": 2.0,    # As the oracle, which knows no schedule and no average.
    "learning_rate_schedule": "constant", "weight_averaging": 0.0, "forget_tokens": "all",
}  # fmt: skip


def make_rows(lengths: Sequence[int], seed: int) -> TokenRows:
    """Random rows of these lengths, within the tiny vocabulary."""
    generator = torch.Generator().manual_seed(seed)
    rows = tuple(torch.randint(6, 90, (length,), generator=generator, dtype=torch.int32) for length in lengths)
    return TokenRows(rows, tuple(range(len(rows))))


FORGET, RETAIN = make_rows((21, 5, 14, 9), seed=1), make_rows((17, 12, 6), seed=2)


def make_topic(forget: TokenRows = FORGET, *retain: TokenRows, **changes: Any) -> TopicRows:
    """A topic of strength 3 and retain weight 2."""
    values = {"name": "topic", "steering_coefficient": 3.0, "retain_weight": 2.0, **changes}
    return TopicRows(forget=forget, retain=retain or (RETAIN,), **values)


def make_specific_topic() -> TopicRows:
    """A topic of whose forget tokens some are in no retain row, in spans of several lengths."""
    varied = make_rows((21, 5, 14, 9, 40), seed=1)
    forget = TokenRows(
        tuple(torch.where(row % 2 == 0, 6 + row % 10, 60 + row % 12) for row in varied.token_ids), varied.document_ids
    )
    retain = make_rows((60, 50, 6), seed=2)
    return make_topic(forget, TokenRows(tuple(6 + row % 10 for row in retain.token_ids), retain.document_ids))


@cache
def load_tiny(path: Path, dtype: torch.dtype = torch.float32, num_layers: int = TAPPED_LAYER + 1) -> TruncatedModel:
    """The first layers of a checkpoint, loaded once; solvers leave them as they are, and so must tests."""
    return load_truncated(open_checkpoint(path), num_layers, dtype=dtype, device=torch.device("cpu"))


def make_solver(
    path: Path,
    topics: Sequence[TopicRows] | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    truncated: TruncatedModel | None = None,
    trained_layers: Sequence[int] = TRAINED_LAYERS,
    state: dict[str, Tensor] | None = None,
    below: dict[str, Tensor] | None = None,
    **settings: Any,
) -> GradientSolver:
    """A solver of the tapped layer 3 with layers 1 to 3 trained, ready to step; or to go on from `state`."""
    config = make_config({**SETTINGS, **settings})
    truncated = truncated or load_tiny(path, dtype)
    names = {
        layer_id: select_matrices(
            truncated.layers[layer_id],
            roles=config.training.target_roles,
            modules=config.training.target_modules,
            family=truncated.family,
        )
        for layer_id in trained_layers
    }
    solver = GradientSolver(
        truncated,
        names,
        topics or [make_topic()],
        config.target,
        config.training,
        max_length=config.data.max_length,
        below={name: matrix.to(next(truncated.inner.parameters()).dtype) for name, matrix in (below or {}).items()},
    )
    if state is not None:
        solver.load_state(state)
    solver.prepare()
    return solver


def finish(solver: GradientSolver) -> list[dict[str, Any]]:
    """Take the remaining steps; the metrics of each."""
    records: list[dict[str, Any]] = []
    solver.run(records.extend, lambda _: None)
    return records


def masters_of(solver: GradientSolver) -> dict[str, Tensor]:
    """Copies of the masters by name."""
    return {name: tensor.clone() for name, tensor in solver.trained_parameters().items()}


def all_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two sets of tensors have the same names and bits."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
