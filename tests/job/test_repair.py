"""A run that repairs: which matrices change, and that an interruption of either stage changes nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from checkpoint_files import all_bytes
from main_job import FORGET, RETAIN, SETTINGS, read_metrics
from srmu import unlearn
from srmu.config.settings import make_config
from srmu.errors import InputError
from srmu.job.estimate import estimate
from srmu.job.plan import make_plan
from srmu.job.stages import repair_stage, stages
from srmu.job.unlearn import resume
from srmu.runtime.progress import Reporter
from srmu.solver.gradient import GradientSolver
from srmu.surgery.layers import resolve_repair_layer

STEPS, SAVE_EVERY = 6, 4
REPAIR: dict[str, Any] = {
    **SETTINGS, "layer": 2, "steps": STEPS, "repair": True, "repair_layer": 4, "eval": False, "save_every": SAVE_EVERY,
}  # fmt: skip


@pytest.fixture(scope="session")
def base(saved_family: Callable[..., Path]) -> Path:
    return saved_family("llama")


def run_on(base: Path, out: Path, **changes: Any) -> Any:
    return unlearn(model=base, out=str(out), **{"forget": FORGET, "retain": RETAIN, **REPAIR, **changes})


def plan_of(base: Path, **changes: Any) -> Any:
    sources = {"forget": [f"text:{text}" for text in FORGET], "retain": [f"text:{text}" for text in RETAIN]}
    return make_plan(make_config({"model": str(base), **sources, **REPAIR, **changes}))


@pytest.fixture(scope="session")
def repaired(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("repaired") / "run"
    run_on(base, out)
    return out


def down_projections(run: Path) -> dict[int, torch.Tensor]:
    from safetensors.torch import load_file

    delta = load_file(run / "delta.safetensors")
    return {int(name.split(".")[2]): tensor for name, tensor in delta.items() if name.startswith("model.layers.")}


def test_both_stages_train_their_own_layers_and_metrics_go_on_counting(base, repaired, tmp_path):
    changed = down_projections(repaired)
    assert sorted(changed) == [0, 1, 2, 3, 4]
    # The first stage is what a run without a repair is, to the bit.
    alone = down_projections(run_on(base, tmp_path / "alone", repair=False, repair_layer="auto").run_dir)
    assert sorted(alone) == [0, 1, 2]
    assert all(torch.equal(changed[layer], alone[layer]) for layer in alone)
    card = (repaired / "model" / "README.md").read_text()
    assert "repaired at layer 4" in card
    records = read_metrics(repaired)
    assert [record["step"] for record in records] == list(range(1, 2 * STEPS + 1))
    # What the first stage did to the retain side is what the second begins with.
    assert records[0]["retain_loss"] < 1e-9 < 1e-4 < records[STEPS]["retain_loss"]
    assert records[-1]["forget_loss"] < records[STEPS]["forget_loss"]
    assert [record["retain_weight"] for record in records] == [0.5] * STEPS + [10.0] * STEPS


# The last: the state is that of the first stage's end.
@pytest.mark.parametrize(
    ("step", "save_every"), [(2, 4), (5, 4), (STEPS, 4), (STEPS + 1, 4), (STEPS + 4, 4), (STEPS + 1, STEPS)]
)
def test_a_resumed_run_equals_the_undisturbed_one_bit_for_bit(base, repaired, tmp_path, monkeypatch, step, save_every):
    original, taken = GradientSolver.step, [0]

    def killed(solver: GradientSolver) -> None:
        if taken[0] == step:
            raise KeyboardInterrupt
        taken[0] += 1
        original(solver)

    with monkeypatch.context() as patch:
        patch.setattr(GradientSolver, "step", killed)
        with pytest.raises(KeyboardInterrupt):
            run_on(base, tmp_path / "run", save_every=save_every)
    result = resume(tmp_path / "run")
    assert all_bytes(result.model_dir) == all_bytes(repaired / "model")
    assert read_metrics(result.run_dir) == read_metrics(repaired)
    assert sorted(all_bytes(result.run_dir)) == sorted(all_bytes(repaired))


def test_a_state_of_other_stages_is_refused(base):
    from srmu.job.training import make_solver
    from srmu.solver.topics import TopicRows
    from srmu.surgery.truncate import load_truncated

    plan = plan_of(base)
    truncated = load_truncated(plan.checkpoint, plan.depth, dtype=torch.float32, device=torch.device("cpu"))
    topic = plan.topics[0]
    rows = TopicRows("forget", plan.rows(topic.forget).train, (plan.rows(topic.retain[0]).train,), 1.0, 0.5)
    solver = make_solver(plan, truncated, [rows])
    state = solver.state()
    solver.load_state(state)
    for wrong in ({}, {"1.next_step": torch.tensor(1)}, {**state, "7.next_step": torch.tensor(1)}):
        with pytest.raises(InputError, match="other stages"):
            solver.load_state(wrong)


def test_texts_with_nothing_to_exchange_are_forgotten_and_not_repaired(base, tmp_path, monkeypatch):
    notes: list[str] = []
    reporter = Reporter()
    monkeypatch.setattr(reporter, "note", notes.append)
    turned = [" ".join(reversed(text.split())) for text in RETAIN]
    run = run_on(base, tmp_path / "run", forget=turned, eval_fraction=0.0, reporter=reporter).run_dir
    assert sorted(down_projections(run)) == [0, 1, 2]
    assert sum("Nothing was repaired" in note for note in notes) == 1
    assert len(read_metrics(run)) == STEPS


def test_the_plan_of_each_stage(base, monkeypatch):
    monkeypatch.setattr("srmu.job.estimate._operations_a_second", lambda plan: 1e9)
    plan = plan_of(base)
    assert plan.depth == 5
    assert plan.config.training.trained_layers == (0, 1, 2)
    first, second = stages(plan)
    assert (first.layer_id, sorted(first.parameter_names), first.depth) == (2, [0, 1, 2], 3)
    assert (second.layer_id, sorted(second.parameter_names), second.depth) == (4, [3, 4], 5)
    assert second.config.target.method == "counterfactual"
    assert plan.num_trained == 5 * 32 * 48
    # Settings of the first stage that the second cannot have do not stop it.
    odd = plan_of(base, per_token_signs=0.5, map_scope="corpus", forget_tokens="all", change_scale=0.5)
    assert repair_stage(odd).config.target.forget_tokens == "specific"
    without = plan_of(base, repair=False, repair_layer="auto")
    assert stages(without) == [without]
    assert estimate(plan)["training_seconds"] > 1.2 * estimate(without)["training_seconds"]


@pytest.mark.parametrize("method", ["erasure", "counterfactual"])
def test_methods_that_leave_language_are_not_repaired(base, method):
    with pytest.raises(InputError, match=f"repair=True with method='{method}'.*leave repair out"):
        plan_of(base, method=method)


def test_a_layer_for_no_repair_is_a_mistake(base):
    with pytest.raises(InputError, match="repair_layer=4 without repair; add --repair"):
        plan_of(base, repair=False)


def test_where_no_layer_lies_above_nothing_is_repaired(base):
    plan = plan_of(base, layer=4, repair_layer="auto")
    assert (plan.repair_layer, plan.config.target.repair, plan.depth) == (None, False, 5)


def test_the_layer_of_the_repair():
    assert resolve_repair_layer("auto", 30, 5) == 9
    assert resolve_repair_layer("auto", 30, 12) == 13
    # Nothing lies above.
    assert resolve_repair_layer("auto", 5, 4) is None
    assert resolve_repair_layer(4, 5, 3) == 4
    for wrong in (3, 5):
        with pytest.raises(InputError, match=r"repair_layer=. is out of range.* Choose 4 to 4"):
            resolve_repair_layer(wrong, 5, 3)
