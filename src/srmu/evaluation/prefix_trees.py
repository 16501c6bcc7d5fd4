"""Log-likelihoods of many continuations, each shared beginning computed once.

Token sequences that share a beginning (the choices of a question, questions of one form) form trees. A row of a
batch is one tree: a node attends to its ancestors and itself and its position is its depth, so every path through the
tree is the sequence by itself. Models for which this is not known to hold get one sequence per row.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from srmu.evaluation.logits import batch_token_limit, logits_at, reduce_rows
from srmu.inputs.generation import max_positions
from srmu.runtime.processes import joined, own_part

Progress = Callable[[int, int], None]
Pair = tuple[list[int], list[int]]
"""Token ids of a context (at least one) and of its continuation (at least one)."""

# Families whose masks and positions are honoured as given; tests/evaluation/test_prefix_trees.py proves each.
TREE_FAMILIES = frozenset(
    [
        "llama",
        "mistral",
        "qwen2",
        "qwen3",
        "gemma2",
        "gemma3_text",
        "phi3",
        "olmo2",
        "gpt_neox",
        "gpt2",
        "mixtral",
        "qwen3_moe",
    ]
)
# Attention within a row grows with its square, sharing with its length.
_ROW_NODES = 192


@dataclass
class _Tree:
    """One row: nodes in depth-first order, and which continuations are read from it."""

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    readings: list[tuple[int, list[int], list[int]]] = field(default_factory=list)
    """Pair number, the nodes that predict its continuation, and the continuation."""

    def extend(self, path: list[int], tokens: Sequence[int]) -> list[int]:
        """Add `tokens` below the last node of `path`; return the longer path."""
        path = list(path)
        for token in tokens:
            self.tokens.append(token)
            self.parents.append(path[-1] if path else -1)
            self.depths.append(len(path))
            path.append(len(self.tokens) - 1)
        return path

    def visible(self) -> np.ndarray:
        """`[nodes, nodes]` bool: which nodes a node attends to."""
        visible = np.eye(len(self.tokens), dtype=bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                visible[node] |= visible[parent]
        return visible


def continuation_log_likelihoods(
    model: PreTrainedModel,
    pairs: Sequence[Pair],
    *,
    batch_tokens: int,
    progress: Progress | None = None,
    share: bool | None = None,
) -> np.ndarray:
    """Sum of the log-probabilities of each continuation's tokens after its context.

    Args:
        model: In eval mode.
        pairs: Contexts longer than the model admits lose tokens from the left.
        batch_tokens: Most tokens in one forward pass, padding included.
        progress: Called with pairs done and pairs in all.
        share: Merge shared beginnings; None = where that is known to be exact.

    Returns:
        Float64, one value per pair, natural logarithm, from float32 logits.
    """
    longest = max_positions(model)
    inputs = [(context + continuation)[-(longest + 1) :][:-1] for context, continuation in pairs]
    if share is None:
        share = _can_share(model, max(map(len, inputs), default=0))
    trees = _grow_trees(inputs, [continuation for _, continuation in pairs], share)
    scores = np.zeros(len(pairs))
    batches = own_part(_batches(trees, batch_token_limit(model, batch_tokens)))
    done, in_all = 0, sum(len(tree.readings) for batch in batches for tree in batch)
    for batch in batches:
        for pair, score in _score_batch(model, batch, share):
            scores[pair] = score
            done += 1
        if progress:
            progress(done, in_all)
    return np.asarray(joined(scores), dtype=np.float64)


def _can_share(model: PreTrainedModel, longest: int) -> bool:
    """Whether trees are exact for this model and sequences of at most so many tokens."""
    config = model.config
    window = getattr(config, "sliding_window", None)
    # A given mask replaces a sliding one, which is the same only within the window.
    return (
        config.model_type in TREE_FAMILIES
        and getattr(config, "_attn_implementation", None) in ("eager", "sdpa")
        and (window is None or longest <= window)
    )


def _grow_trees(inputs: Sequence[list[int]], continuations: Sequence[list[int]], share: bool) -> list[_Tree]:
    """Merge sequences in lexicographic order, where each one's longest match is its predecessor."""
    trees: list[_Tree] = []
    path: list[int] = []
    previous: list[int] = []
    for number in sorted(range(len(inputs)), key=inputs.__getitem__):
        tokens = inputs[number]
        shared = sum(1 for _ in takewhile(lambda two: two[0] == two[1], zip(previous, tokens, strict=False)))
        new_nodes = len(tokens) - shared
        if not (trees and share) or (
            new_nodes and len(trees[-1].tokens) + new_nodes > max(_ROW_NODES, 2 * len(tokens))
        ):
            trees.append(_Tree())
            path, shared = [], 0
        path = trees[-1].extend(path[:shared], tokens[shared:])
        previous = tokens
        continuation = continuations[number][-len(tokens) :]
        trees[-1].readings.append((number, path[-len(continuation) :], continuation))
    return trees


def _batches(trees: list[_Tree], batch_tokens: int) -> list[list[_Tree]]:
    """Rows of like length together, longest first: a batch that does not fit in memory fails at once."""
    batches: list[list[_Tree]] = []
    for tree in sorted(trees, key=lambda tree: -len(tree.tokens)):
        if batches and (len(batches[-1]) + 1) * len(batches[-1][0].tokens) <= batch_tokens:
            batches[-1].append(tree)
        else:
            batches.append([tree])
    return batches


def _score_batch(model: PreTrainedModel, batch: list[_Tree], share: bool) -> list[tuple[int, float]]:
    width = len(batch[0].tokens)
    readings = [
        (number, [row * width + node for node in nodes], continuation)
        for row, tree in enumerate(batch)
        for number, nodes, continuation in tree.readings
    ]
    positions, where = np.unique([node for _, nodes, _ in readings for node in nodes], return_inverse=True)
    targets = torch.tensor([token for _, _, continuation in readings for token in continuation], device=model.device)
    inputs = _forward_inputs(model, batch, width, share)
    logits = logits_at(model, inputs, torch.from_numpy(positions).to(model.device))
    (sums,) = reduce_rows(logits, lambda values: values.logsumexp(-1))
    rows = torch.from_numpy(where).to(model.device)
    log_probabilities = (logits[rows, targets].float() - sums[rows]).double().cpu().numpy()
    ends = np.cumsum([len(continuation) for _, _, continuation in readings])[:-1]
    return [
        (number, float(part.sum()))
        for (number, _, _), part in zip(readings, np.split(log_probabilities, ends), strict=True)
    ]


def _forward_inputs(model: PreTrainedModel, batch: list[_Tree], width: int, share: bool) -> dict[str, Any]:
    token_ids = np.zeros((len(batch), width), dtype=np.int64)
    position_ids = np.zeros((len(batch), width), dtype=np.int64)
    for row, tree in enumerate(batch):
        token_ids[row, : len(tree.tokens)] = tree.tokens
        position_ids[row, : len(tree.tokens)] = tree.depths
    inputs: dict[str, Any] = {"input_ids": torch.from_numpy(token_ids).to(model.device)}
    if not share:
        lengths = torch.tensor([len(tree.tokens) for tree in batch])
        inputs["attention_mask"] = (torch.arange(width) < lengths[:, None]).long().to(model.device)
        return inputs
    inputs["position_ids"] = torch.from_numpy(position_ids).to(model.device)
    inputs["attention_mask"] = _tree_mask(batch, width, model.dtype).to(model.device)
    return inputs


def _tree_mask(batch: list[_Tree], width: int, dtype: torch.dtype) -> Tensor:
    """`[batch, 1, width, width]` to be added to attention scores; padding attends to itself alone."""
    visible = np.tile(np.eye(width, dtype=bool), (len(batch), 1, 1))
    for row, tree in enumerate(batch):
        nodes = len(tree.tokens)
        visible[row, :nodes, :nodes] = tree.visible()
    mask = torch.zeros(visible.shape, dtype=dtype)
    return mask.masked_fill(~torch.from_numpy(visible), torch.finfo(dtype).min).unsqueeze(1)
