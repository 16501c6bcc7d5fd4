"""The engine against two whole models with hooks and masked means, in float64: losses, gradients, trajectories.

Rows have different lengths (several padded lengths in one step), and every expected number comes from
`oracle`, in which padding holds random tokens.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import cycle, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from families import FAMILIES, TAPPED_LAYER, VARIANTS, find_family
from oracle import formulas
from oracle.plain import PlainBatch, PlainObjective, float64_exact, hidden_after, load_plain, plain_run
from srmu.inputs.rows import TokenRows
from srmu.solver.counterfactual import EXCHANGES
from srmu.solver.gradient import GradientSolver
from srmu.solver.topics import TopicRows
from srmu.surgery.checkpoint import open_checkpoint
from srmu.surgery.truncate import load_truncated
from tiny_runs import (
    FORGET,
    RETAIN,
    SETTINGS,
    finish,
    make_rows,
    make_solver,
    make_specific_topic,
    make_topic,
    masters_of,
)

SavedFamily = Callable[..., Path]
STEPS = SETTINGS["steps"]
MAPS, STATISTICS = ("ratio", "difference", "product", "none"), ("abs", "rms", "signed")
TARGETS: list[dict[str, Any]] = [
    {"method": "rmu"},
    {"method": "adaptive-rmu"},
    *({"method": "srmu", "importance_map": name, "statistic": kind} for name, kind in product(MAPS, STATISTICS)),
]
ABSOLUTE: list[dict[str, Any]] = [
    {"method": "rmu", "coefficient_unit": "absolute"},
    {"method": "srmu", "importance_map": "ratio", "coefficient_unit": "absolute", "skip_sinks": False},
    {"method": "srmu", "misdirection": "uniform", "map_epsilon": 0.3, "importance_map": "product"},
    {"method": "srmu", "importance_map": "difference", "difference_lambda": 0.5},
]
OTHERS = [name for name in (*FAMILIES, *VARIANTS) if name != "llama"]
# One target a family or variant, in turn, so that all are used.
ROTATION = list(zip(OTHERS, cycle(TARGETS), strict=False))


def describe(value: Any) -> str:
    return value if isinstance(value, str) else "-".join(map(str, value.values()))


def padded(rows: TokenRows, row_ids: Sequence[int]) -> PlainBatch:
    """One batch as long as its longest row and three more, with random ids as padding."""
    lengths = torch.tensor([len(rows.token_ids[row_id]) for row_id in row_ids])
    width = int(lengths.max()) + 3
    token_ids = torch.randint(6, 90, (len(row_ids), width), generator=torch.Generator().manual_seed(9))
    for place, row_id in enumerate(row_ids):
        token_ids[place, : lengths[place]] = rows.token_ids[row_id]
    return PlainBatch(token_ids, torch.arange(width)[None] < lengths[:, None])


def plain_batches(solver: GradientSolver, topics: Sequence[TopicRows]) -> tuple[list[PlainBatch], list[PlainBatch]]:
    """The rows of each step, in batches for the oracle."""
    forget = [padded(topics[step.topic].forget, step.forget) for step in solver.schedule]
    if solver.target.forget_tokens == "specific":
        forget = [
            replace(batch, token_weights=specific_weights(batch.token_ids, topics[step.topic]))
            for batch, step in zip(forget, solver.schedule, strict=True)
        ]
    if solver.target.method == "counterfactual":
        forget = [
            replace(batch, exchanges=exchanged(solver, step.forget, batch))
            for batch, step in zip(forget, solver.schedule, strict=True)
        ]
    if solver.topics[0].token_directions is not None:
        vectors = [token_vectors(solver, topics[step.topic]) for step in solver.schedule]
        forget = [
            replace(batch, vectors=torch.tensor([[own.get(i, own[min(own)]) for i in row] for row in ids.tolist()]))
            for batch, own in zip(forget, vectors, strict=True) for ids in [batch.token_ids]
        ]  # fmt: skip
    retain = []
    for step in solver.schedule:
        chosen = [topics[step.topic].retain[source].token_ids[position] for source, position in step.retain]
        retain.append(padded(TokenRows(tuple(chosen), tuple(range(len(chosen)))), range(len(chosen))))
    return forget, retain


def exchanged(solver: GradientSolver, row_ids: Sequence[int], batch: PlainBatch) -> tuple[torch.Tensor, ...]:
    """The engine's exchanges of these rows, in the place of the rows."""
    counterfactuals = solver.topics[0].counterfactuals
    assert counterfactuals is not None
    rows, versions = counterfactuals.exchanged.rows.token_ids, []
    for number in range(EXCHANGES):
        token_ids = batch.token_ids.clone()
        for place, row_id in enumerate(row_ids):
            row = rows[counterfactuals.places[row_id] * EXCHANGES + number]
            token_ids[place, : len(row)] = row
        assert not torch.equal(token_ids, batch.token_ids)
        versions.append(token_ids)
    return tuple(versions)


def specific_weights(token_ids: torch.Tensor, topic: TopicRows) -> torch.Tensor:
    """The weight of each token, counted out; padding gets one too, and is not counted."""
    forget = [token for row in topic.forget.token_ids for token in row.tolist()]
    retain = [token for rows in topic.retain for row in rows.token_ids for token in row.tolist()]
    weights = []
    for token in token_ids.flatten().tolist():
        forget_share = forget.count(token) / len(forget)
        retain_share = (retain.count(token) + 0.5) / len(retain)
        specificity = (forget_share - retain_share) / (forget_share + retain_share)
        weights.append(max(specificity, 0.05**2) ** 0.5)
    return torch.tensor(weights, dtype=torch.float64).reshape(token_ids.shape)


def longest_push(solver: GradientSolver) -> float | None:
    """The lengths of the gains behind the trained MLPs, added up; Gemma stores a gain less 1."""
    lengths = []
    for layer_id in {layer_id for layer_id, _ in solver.masters}:
        norm = getattr(solver.truncated.layers[layer_id], "post_feedforward_layernorm", None)
        if norm is None:
            return None
        gain = norm.weight.detach().double()
        lengths.append((gain + 1 if "Gemma" in type(norm).__name__ else gain).square().sum().sqrt())
    return float(sum(lengths))


def plain_objective(solver: GradientSolver, topic_id: int = 0) -> PlainObjective:
    config, topic = solver.target, solver.topics[topic_id]
    return PlainObjective(
        config.method,
        topic.direction.double().cpu().numpy(),
        steering_coefficient=topic.steering_coefficient,
        coefficient_unit=config.coefficient_unit,
        reach=longest_push(solver),
        retain_weight=topic.retain_weight,
        map_name=config.importance_map,
        statistic=config.statistic,
        map_epsilon=config.map_epsilon,
        difference_lambda=config.difference_lambda,
        overshoot=config.overshoot,
        sink_norm_ratio=config.sink_norm_ratio if config.skip_sinks else None,
    )


def check(
    name: str,
    path: Path,
    solver: GradientSolver,
    topics: Sequence[TopicRows],
    objectives: PlainObjective | Sequence[PlainObjective],
    before: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Compare losses of every step, gradients of the first and the masters at the end with the oracle's.

    `before` is what a stage before this one has made of parameters, by the engine's names.
    """
    family = find_family(name)

    def full_name(parameter: str) -> str:
        return parameter.replace(solver.truncated.layers_name, family.layers_path, 1)

    in_full = {parameter: full_name(parameter) for parameter in solver.trained_parameters()}
    forget, retain = plain_batches(solver, topics)
    plain = plain_run(
        path, forget, retain, objectives, TAPPED_LAYER, list(in_full.values()),
        solver.training.learning_rate, len(solver.schedule),
        before={full_name(name): matrix for name, matrix in (before or {}).items()},
    )  # fmt: skip
    records: list[dict[str, Any]] = []
    with float64_exact():
        solver.step()
        gradients = {
            key: master.grad.to("cpu", copy=True) for key, master in zip(in_full, solver.masters.values(), strict=True)
        }
        solver.run(records.extend, lambda _: None)
    assert records[0]["forget_loss"] == pytest.approx(plain.losses[0].forget, rel=1e-10)
    assert records[0]["retain_loss"] == pytest.approx(plain.losses[0].retain, rel=1e-8, abs=1e-24)
    assert bool(before) == (records[0]["retain_loss"] > 1e-12)
    for key, full in in_full.items():
        expected = plain.gradients[full]
        assert gradients[key].dtype == torch.float64
        assert (gradients[key] - expected).abs().max() <= 1e-10 * expected.abs().max()
        assert (solver.trained_parameters()[key].cpu() - plain.parameters[full]).abs().max() < 1e-8
    for record, losses in zip(records, plain.losses, strict=True):
        assert record["loss"] == pytest.approx(losses.total, rel=1e-8)
        assert record["retain_loss"] == pytest.approx(losses.retain, rel=1e-8, abs=1e-20)
    assert records[-1]["retain_loss"] > 1e-6


@pytest.mark.parametrize(
    ("name", "target"), [*(("llama", target) for target in (*TARGETS, *ABSOLUTE)), *ROTATION], ids=describe
)
def test_engine_equals_two_whole_models(name: str, target: dict[str, Any], saved_family: SavedFamily) -> None:
    topics = [make_topic()]
    with float64_exact():
        solver = make_solver(saved_family(name), topics, dtype=torch.float64, **target)
    check(name, saved_family(name), solver, topics, plain_objective(solver))


@pytest.mark.parametrize("method", ["rmu", "adaptive-rmu", "srmu"])
def test_weighted_forget_tokens_equal_two_whole_models(method: str, saved_family: SavedFamily) -> None:
    topics = [make_topic(make_rows((21, 5, 14, 9), seed=1), make_rows((60, 12, 6), seed=2), make_rows((30,), seed=3))]
    with float64_exact():
        solver = make_solver(
            saved_family("llama"), topics, dtype=torch.float64, method=method, forget_tokens="specific", max_length=64
        )
    weights = solver.topics[0].token_weights
    assert weights is not None
    assert len(set(weights[torch.cat(topics[0].forget.token_ids).long()].tolist())) > 3
    check("llama", saved_family("llama"), solver, topics, plain_objective(solver))


@pytest.mark.parametrize("axes", [0, 1, 3])
@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2"])
def test_erasure_equals_two_whole_models(name: str, axes: int, saved_family: SavedFamily) -> None:
    varied = make_rows((21, 5, 14, 9), seed=1)
    # A token is specific only where the forget texts have it several times.
    forget = TokenRows(tuple(60 + row % 8 for row in varied.token_ids), varied.document_ids)
    topics = [make_topic(forget, make_rows((60, 12, 6), seed=2), make_rows((30,), seed=3))]
    path = saved_family(name)
    with float64_exact():
        solver = make_solver(
            path, topics, dtype=torch.float64, method="erasure", forget_tokens="specific", erased_axes=axes,
            max_length=64,
        )  # fmt: skip
    objective = replace(plain_objective(solver), erasure=plain_erasure(path, solver, topics[0]))
    check(name, path, solver, topics, objective)


@pytest.mark.parametrize("cache_gb", [2.0, 0.0])
@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2"])
def test_counterfactuals_equal_two_whole_models(name: str, cache_gb: float, saved_family: SavedFamily) -> None:
    topics = [make_specific_topic()]
    path = saved_family(name)
    with float64_exact():
        solver = make_solver(
            path, topics, dtype=torch.float64, method="counterfactual", forget_tokens="specific", overshoot=0.3,
            max_length=64, cache_gb=cache_gb,
        )  # fmt: skip
    check(name, path, solver, topics, plain_objective(solver))


@pytest.mark.parametrize("cache_gb", [2.0, 0.0])
@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt2"])
def test_a_repair_equals_two_whole_models_of_which_one_has_been_changed(
    name: str, cache_gb: float, saved_family: SavedFamily
) -> None:
    topics, path = [make_specific_topic()], saved_family(name)
    with float64_exact():
        first = make_solver(path, topics, dtype=torch.float64, trained_layers=(1, 2), steps=2, max_length=64)
        finish(first)
        below = masters_of(first)
        solver = make_solver(
            path, topics, dtype=torch.float64, method="counterfactual", forget_tokens="specific", overshoot=0.0,
            max_length=64, cache_gb=cache_gb, trained_layers=(3,), below=below,
        )  # fmt: skip
    check(name, path, solver, topics, plain_objective(solver), below)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "target", [*TARGETS[:3], {"forget_tokens": "specific"}, {"per_token_signs": 1.0}], ids=describe
)
def test_on_a_gpu_the_engine_equals_two_whole_models(target: dict[str, Any], saved_family: SavedFamily) -> None:
    path = saved_family("llama")
    topics = [make_topic(make_rows((21, 5, 14, 9), seed=1), make_rows((60, 12, 6), seed=2), make_rows((30,), seed=3))]
    with float64_exact():
        truncated = load_truncated(
            open_checkpoint(path), TAPPED_LAYER + 1, dtype=torch.float64, device=torch.device("cuda")
        )
        solver = make_solver(path, topics, dtype=torch.float64, truncated=truncated, max_length=64, **target)
    assert {master.device.type for master in solver.masters.values()} == {"cuda"}
    check("llama", path, solver, topics, plain_objective(solver))


@pytest.mark.parametrize("unit", ["relative", "absolute"])
@pytest.mark.parametrize(("importance_map", "share"), [("difference", 0.4), ("none", 1.0)])
def test_a_vector_for_each_token_equals_two_whole_models(
    unit, importance_map, share, saved_family: SavedFamily
) -> None:
    topics = [make_topic(make_rows((21, 5, 14, 9), seed=1), make_rows((60, 12, 6), seed=2), make_rows((30,), seed=3))]
    with float64_exact():
        solver = make_solver(
            saved_family("llama"), topics, dtype=torch.float64, per_token_signs=share, max_length=64,
            importance_map=importance_map, coefficient_unit=unit,
        )  # fmt: skip
    vectors = token_vectors(solver, topics[0])
    common, own = torch.tensor(list(vectors.values())) == solver.topics[0].direction, round(share * 32)
    assert common.all(dim=0).sum() == 32 - own
    assert solver.topics[0].token_directions.of(torch.tensor([list(vectors)])).tolist() == [list(vectors.values())]
    check("llama", saved_family("llama"), solver, topics, plain_objective(solver))


def plain_erasure(path: Path, solver: GradientSolver, topic: TopicRows) -> tuple[np.ndarray, np.ndarray | None]:
    """Centroid and axes of a topic, row by row through the whole model."""
    model, tokens, weights = load_plain(path), [], []
    for row in topic.forget.token_ids:
        ids = row.long()[None]
        with torch.no_grad(), float64_exact():
            hidden = hidden_after(model, PlainBatch(ids, torch.ones_like(ids, dtype=torch.bool)), TAPPED_LAYER)
        own = specific_weights(ids, topic)[0].numpy()
        counted = formulas.sink_mask(hidden.numpy(), np.ones(ids.shape, dtype=bool), 4.0)[0] & (own > 0.9)
        tokens.append(hidden[0].numpy()[counted])
        weights.append(own[counted])
    specific, weight, number = np.concatenate(tokens), np.concatenate(weights), solver.target.erased_axes
    assert len(specific) > 6
    axes = formulas.principal_axes(specific, weight, number) if number else None
    return formulas.centroid(specific, weight), axes


def token_vectors(solver: GradientSolver, topic: TopicRows) -> dict[int, list[int]]:
    """V of each forget token: bits of a Philox generator with the seed's stream and the token as its key.

    The features with the smallest words of a generator that belongs to no token are its own, the others the topic's.
    """
    stream = solver.training.seed * 1_000_003
    ranks = [int(word) for word in np.random.Philox(key=(2**63 << 64) + stream).random_raw(32)]
    own = sorted(range(32), key=lambda place: ranks[place])[: round(solver.target.per_token_signs * 32)]
    common, vectors = solver.topics[0].direction.tolist(), {}
    for token in sorted({token for row in topic.forget.token_ids for token in row.tolist()}):
        word = int(np.random.Philox(key=(token << 64) + stream).random_raw())
        vectors[token] = [(1 if word >> i & 1 else -1) if i in own else int(common[i]) for i in range(32)]
    return vectors


@pytest.mark.parametrize("role", ["mlp_up", "mlp_gate", "attn_out", "attn_value"])
def test_other_matrices_equal_two_whole_models(role: str, saved_family: SavedFamily) -> None:
    topics = [make_topic()]
    with float64_exact():
        solver = make_solver(saved_family("llama"), topics, dtype=torch.float64, target_roles=(role, "mlp_down"))
    check("llama", saved_family("llama"), solver, topics, plain_objective(solver))


def test_two_topics_alternate_with_their_own_vector_strength_and_texts(saved_family: SavedFamily) -> None:
    topics = [
        make_topic(name="one"),
        make_topic(
            make_rows((8, 19, 11), seed=3), make_rows((7, 16), seed=4), make_rows((10,), seed=5),
            name="two", steering_coefficient=5.0, retain_weight=0.5,
        ),
    ]  # fmt: skip
    with float64_exact():
        solver = make_solver(saved_family("llama"), topics, dtype=torch.float64, steps=4)
    assert [step.topic for step in solver.schedule] == [0, 1, 0, 1]
    assert not torch.equal(solver.topics[0].direction, solver.topics[1].direction)
    check("llama", saved_family("llama"), solver, topics, [plain_objective(solver, topic_id) for topic_id in (0, 1)])


def side_values(model: Any, batch: PlainBatch) -> tuple[np.ndarray, np.ndarray]:
    """|h| and norm of every counted token of a batch, from the whole frozen model."""
    with torch.no_grad(), float64_exact():
        hidden = hidden_after(model, batch, TAPPED_LAYER).numpy()
    counted = hidden[formulas.sink_mask(hidden, batch.attention_mask.numpy())]
    return np.abs(counted), np.linalg.norm(counted, axis=-1)


@pytest.mark.parametrize("scope", ["corpus", "running"])
def test_map_scopes_equal_two_whole_models(scope: str, saved_family: SavedFamily) -> None:
    path, topics = saved_family("llama"), [make_topic()]
    with float64_exact():
        solver = make_solver(path, topics, dtype=torch.float64, map_scope=scope, running_decay=0.7)
    model = load_plain(path)
    batches = list(zip(*plain_batches(solver, topics), strict=True))
    if scope == "corpus":
        every = [{row for s in solver.schedule for row in s.forget}, {p for s in solver.schedule for _, p in s.retain}]
        whole = tuple(padded(rows, sorted(ids)) for rows, ids in zip((FORGET, RETAIN), every, strict=True))
    objectives = []
    for step in range(STEPS):
        read = [(whole, 1.0)] if scope == "corpus" else [(batches[i], 0.7 ** (step - i)) for i in range(step + 1)]
        means, norms = [], []
        for side in (0, 1):
            parts = [(*side_values(model, pair[side]), weight) for pair, weight in read]
            count = sum(weight * len(values) for values, _, weight in parts)
            means.append(sum(weight * values.sum(axis=0) for values, _, weight in parts) / count)
            norms.append(sum(weight * lengths.sum() for _, lengths, weight in parts) / count)
        weights = formulas.normalised_importance(formulas.importance_map(*means, "difference"))
        objective = replace(plain_objective(solver), coefficient_unit="absolute", fixed_importance=weights)
        steering_coefficient = formulas.relative_coefficient(objective.vector * weights, 3.0, norms[0])
        objectives.append(replace(objective, steering_coefficient=steering_coefficient))
    check("llama", path, solver, topics, objectives)
    assert objectives[0].steering_coefficient != objectives[-1].steering_coefficient or scope == "corpus"
