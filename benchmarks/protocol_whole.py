"""The usual peers that train the whole model on its predictions: gradient difference and NPO, written plainly.

Gradient difference (arXiv 2203.12817): minus the loss on forget rows plus alpha times that on retain rows. NPO (arXiv
2404.05868): `2 / beta * log(1 + (p / p_base) ** beta)` of whole forget rows, plus the same retain term.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid

from srmu.evaluation.measure import Measurement, measure
from srmu.inputs.rows import TokenRows, pad_batch
from srmu.job.tuning.bench import TrialBench
from srmu.runtime.precision import mixed_precision
from srmu.runtime.progress import Reporter
from srmu.solver.schedule import build_schedule

BETA = 0.1
FORGET_ROWS, RETAIN_ROWS = 4, 12


def run_whole(bench: TrialBench, method: str, settings: Mapping[str, Any], seed: int) -> tuple[Measurement, float]:
    """Train, measure, and put the base's weights back.

    Args:
        bench: Of the request; its whole model is trained.
        method: `gradient-difference` or `npo`.
        settings: `learning_rate`, `retain_weight` and `steps`.
        seed: Of the order of rows.

    Returns:
        The scores, and the seconds of training.
    """
    assert bench.base
    with whole_trained(bench, method, settings, seed) as seconds:
        scores = measure(
            bench.model,
            bench.plan.tokenizer,
            texts=bench.validation.texts,
            questions=bench.validation.questions,
            reporter=Reporter(),
            title="",
        )
    return scores, seconds


@contextmanager
def whole_trained(bench: TrialBench, method: str, settings: Mapping[str, Any], seed: int) -> Iterator[float]:
    """The bench's whole model is trained until the block ends; gives the seconds that it took. As in `run_whole`."""
    model = bench.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    # Steps as small as these would be lost in weights of bfloat16.
    model.float()
    started = time.perf_counter()
    try:
        _train(bench, method, settings, seed)
        seconds = time.perf_counter() - started
        model.requires_grad_(False).to(bench.plan.dtype)
        yield seconds
    finally:
        model.requires_grad_(False).to(bench.plan.dtype)
        model.load_state_dict(before)


def _train(bench: TrialBench, method: str, settings: Mapping[str, Any], seed: int) -> None:
    model, rows = bench.model, bench.topics[0]
    optimizer = torch.optim.AdamW(model.requires_grad_(True).parameters(), lr=settings["learning_rate"], weight_decay=0)
    schedule = build_schedule(
        [len(rows.forget)],
        [[len(part) for part in rows.retain]],
        steps=settings["steps"],
        forget_batch_size=FORGET_ROWS,
        retain_batch_size=RETAIN_ROWS,
        seed=seed,
    )
    frozen: dict[int, float] = {}
    if method == "npo":
        with torch.no_grad():
            for position in sorted({row for step in schedule for row in step.forget}):
                frozen[position] = float(_row_log_likelihoods(model, rows.forget, [position])[0])
    for step in schedule:
        log_likelihoods = _row_log_likelihoods(model, rows.forget, step.forget)
        if method == "npo":
            ratio = log_likelihoods - torch.tensor([frozen[row] for row in step.forget], device=log_likelihoods.device)
            loss = -2 / BETA * logsigmoid(-BETA * ratio).mean()
        else:
            tokens = sum(len(rows.forget.token_ids[row]) - 1 for row in step.forget)
            loss = log_likelihoods.sum() / tokens
        loss.backward()
        for part, share in _retain_parts(rows.retain, step.retain):
            (settings["retain_weight"] * share * _mean_loss(model, *part)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def _retain_parts(
    sources: tuple[TokenRows, ...], chosen: tuple[tuple[int, int], ...]
) -> Iterator[tuple[tuple[TokenRows, list[int]], float]]:
    """Rows of each source in the step, and their share of its rows."""
    for number, rows in enumerate(sources):
        positions = [position for source, position in chosen if source == number]
        if positions:
            yield (rows, positions), len(positions) / len(chosen)


def _losses(model: Any, rows: TokenRows, positions: list[int]) -> Tensor:
    """Nats of every token but the first, `[rows, tokens]`, 0 where padded."""
    batch = pad_batch(rows, positions)
    token_ids = batch.token_ids.to(model.device)
    with mixed_precision(model.device):
        logits = model(input_ids=token_ids, use_cache=False).logits[:, :-1]
    losses = cross_entropy(logits.flatten(0, 1).float(), token_ids[:, 1:].flatten(), reduction="none")
    return losses.view(len(positions), -1) * batch.real_mask[:, 1:].to(model.device)


def _row_log_likelihoods(model: Any, rows: TokenRows, positions: Any) -> Tensor:
    return -_losses(model, rows, list(positions)).sum(dim=1)


def _mean_loss(model: Any, rows: TokenRows, positions: list[int]) -> Tensor:
    return _losses(model, rows, positions).sum() / sum(len(rows.token_ids[row]) - 1 for row in positions)
