"""Tasks of lm-evaluation-harness, by name or local YAML, run by the harness itself on a loaded model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srmu.errors import InputError
from srmu.inputs.harness_tasks import HarnessTasks, first_line


@dataclass(frozen=True, kw_only=True)
class TaskScores:
    """What the harness reports of one task or group.

    Attributes:
        metrics: Value by the harness's own name, such as `acc,none`.
        stderr: The harness's standard error of it; nan where it gives none.
        items: By metric, the value of every document where it is one number; of a group, its tasks' one after another.
        num_items: Documents.
    """

    metrics: dict[str, float]
    stderr: dict[str, float]
    items: dict[str, np.ndarray]
    num_items: int


def run_tasks(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    tasks: HarnessTasks,
    *,
    limit: int | None = None,
    chat: bool = False,
    batch_size: int = 8,
) -> dict[str, TaskScores]:
    """Run tasks with the harness's `simple_evaluate`.

    Args:
        model: In eval mode.
        tokenizer: Of the model.
        tasks: From `find_tasks`.
        limit: Most documents of each task.
        chat: Apply the chat template, as the harness does.
        batch_size: Rows in a forward pass.

    Returns:
        Scores by the harness's name of the task or group.

    Raises:
        InputError: A task's data cannot be loaded, or its definition is wrong.
    """
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    if tokenizer.pad_token_id is None:
        # The harness pads with it; padding is masked, so any token will do.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    try:
        wrapped = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)
        found = simple_evaluate(
            model=wrapped,
            tasks=list(tasks.definitions or tasks.names),
            task_manager=tasks.manager,
            limit=limit,
            apply_chat_template=chat,
            bootstrap_iters=0,
            log_samples=True,
        )
    except Exception as error:  # the harness, its task code and the data libraries raise errors of many kinds
        raise InputError(
            f"The harness could not run {', '.join(tasks.names)}: {first_line(error)}. Check the task and its data."
        ) from error
    assert found is not None  # none comes back on other ranks than the first alone
    return _collect(found)


def _collect(found: Mapping[str, Any]) -> dict[str, TaskScores]:
    samples = found["samples"]
    subtasks = found.get("group_subtasks", {})
    scores = {}
    for name, values in found["results"].items():
        leaves = _leaves(name, subtasks)
        metrics = {
            key: float(value)
            for key, value in values.items()
            if "," in key and "_stderr," not in key and isinstance(value, (int, float))
        }
        stderr = {key: _number(values.get(key.replace(",", "_stderr,", 1))) for key in metrics}
        rows = [row for leaf in leaves for row in samples.get(leaf, ())]
        items = {key: array for key in metrics if (array := _items(rows, key)) is not None}
        documents = sum(len({row["doc_id"] for row in samples.get(leaf, ())}) for leaf in leaves)
        scores[name] = TaskScores(metrics=metrics, stderr=stderr, items=items, num_items=documents)
    return scores


def _leaves(name: str, subtasks: Mapping[str, Sequence[str]]) -> list[str]:
    """The tasks below a group, in order; a task is its own."""
    children = subtasks.get(name) or []
    if not children:
        return [name]
    return [leaf for child in children for leaf in _leaves(child, subtasks)]


def _items(rows: Sequence[Mapping[str, Any]], key: str) -> np.ndarray | None:
    """The documents' values of `metric,filter`; none where the metric is no mean of one number per document."""
    metric, _, filter_name = key.partition(",")
    chosen = [row.get(metric) for row in rows if row.get("filter", filter_name) == filter_name]
    if not chosen or not all(isinstance(value, (int, float, np.floating, np.bool_)) for value in chosen):
        return None
    return np.array(chosen, dtype=np.float64)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")
