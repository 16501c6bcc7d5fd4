"""benchmarks/attacks.py: what is attacked with what, and the student of benchmarks/distil.py."""

import json
from pathlib import Path

import pytest
import torch

from srmu.results.attack_records import AttackRecord
from srmu.results.attack_report import AttackReport


@pytest.fixture(scope="module")
def attacks(benchmark_module):
    return benchmark_module("attacks")


@pytest.fixture
def asked(attacks, monkeypatch):
    """Calls of `attack`, which finds the gold standard at 0.3 and all else at 0.5."""
    calls = []

    def attack(result, *, base, questions, only, seed, **more):
        calls.append((result, base, seed, only[0], more["full"]))
        record = AttackRecord(
            status="result", needs="weights", budget="full", seeds=(seed,), chance=0.25, forget_before=0.25,
            base_before=1.0, base_after=1.0, forget_after=0.3 if result == "gold" else 0.5, counts=True,
        )  # fmt: skip
        return AttackReport(model=result, base=str(base), budget="full", seeds=(seed,), records={only[0]: record})

    monkeypatch.setattr(attacks, "attack", attack)
    return calls


def test_every_attack_is_made_on_every_method_with_every_seed_beside_the_gold_standard(attacks, asked, tmp_path):
    def target(method, seed):
        return attacks.Target("gold" if method == attacks.GOLD else f"{method}-{seed}", "b", {}, (), tmp_path / "c")

    written = []
    attacks.attack_all(
        target, {"model": "m", "kind": "domain", "request": "r"}, [attacks.GOLD, "default"], [0, 1], ["int8", "prune"],
        full=True, tunings=(), write=written.extend,
    )  # fmt: skip
    assert asked == [
        (result, "b", seed, name, True)
        for name in ("int8", "prune")
        for result, seed in (("gold", 0), ("gold", 1), ("default-0", 0), ("default-1", 1))
    ]
    rows = [(row["method"], row["attack"], row["forget_after"], row["gold_after"]) for row in written]
    assert rows == [
        (attacks.GOLD, "int8", 0.3, 0.3), ("default", "int8", 0.5, 0.3),
        (attacks.GOLD, "prune", 0.3, 0.3), ("default", "prune", 0.5, 0.3),
    ]  # fmt: skip
    assert written[1]["recovery"] == pytest.approx(1 / 3)


def test_finished_runs_are_attacked_as_they_are(attacks, asked, tmp_path, monkeypatch):
    class Pair:
        base, run_dir = Path("/models/small"), None

    monkeypatch.setattr(attacks, "resolve_pair", lambda model, base: Pair())
    out = tmp_path / "rows.json"
    flags = ["--run", "default=runs/a", "--request", "mine", "--gold", "gold", "--attacks", "int8", "--seeds", "0"]
    monkeypatch.setattr("sys.argv", ["attacks.py", *flags, "--out", str(out), "--runs", str(tmp_path)])
    attacks.main()
    assert asked == [("gold", str(Pair.base), 0, "int8", True), ("runs/a", None, 0, "int8", True)]
    file = json.loads(out.read_text())
    assert [(row["model"], row["method"], row["request"]) for row in file["rows"]] == [
        ("small", attacks.GOLD, "mine"), ("small", "default", "mine"),
    ]  # fmt: skip
    assert file["made"][0]["command"].startswith("python benchmarks/attacks.py --run default=runs/a")


def test_a_student_is_its_teacher_without_noise_and_learns_it_back_from_noise(benchmark_module, saved_family, tmp_path):
    from srmu.evaluation.encoding import encode
    from srmu.evaluation.loading import load_causal_lm, load_tokenizer

    def weights(path):
        return dict(load_causal_lm(path).named_parameters())

    teacher, texts = saved_family("llama"), ["A stone in the river.", "The market of the violet bridge."] * 8

    def student(name, **settings):
        benchmark_module("distil").distil(teacher, texts, tmp_path / name, seed=0, learning_rate=1e-3, **settings)
        return weights(tmp_path / name)

    before = weights(teacher)
    same, noised = student("same", noise=0.0, steps=0), student("far", noise=0.5, steps=0)
    assert all(torch.equal(same[name], before[name]) for name in before)
    assert any(not torch.equal(noised[name], before[name]) for name in before)
    learned = student("near", noise=0.5, steps=80)
    ids = torch.tensor([encode(load_tokenizer(teacher), texts[0])])
    target, far, near = (load_causal_lm(path)(input_ids=ids).logits.log_softmax(-1) for path in
                         (teacher, tmp_path / "far", tmp_path / "near"))  # fmt: skip
    assert learned.keys() == before.keys()
    assert (near - target).abs().mean() < (far - target).abs().mean()
