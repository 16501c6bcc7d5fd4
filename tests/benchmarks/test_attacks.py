"""Rows of benchmarks/attacks.py: means over seeds first, then the worst rate and step that count."""

import json
from dataclasses import replace

import pytest
import torch

from srmu.results.attack_records import AttackRecord, CurvePoint, RelearnCell


@pytest.fixture(scope="module")
def attacks(benchmark_module):
    return benchmark_module("attacks")


def entry(*points, material="half", **more):
    """A seed's record: points are (rate, step, result, base)."""
    cells = {}
    for rate, step, after, base in points:
        point = CurvePoint(
            step=step, forget=after, base=base, counts=True, recovery=None, utility=None, base_utility=None,
            disturbance=0.1, base_disturbance=0.1,
        )  # fmt: skip
        cells.setdefault(rate, []).append(point)
    return AttackRecord(
        status="result", chance=0.25, forget_before=0.25, base_before=1.0, utility=0.98, n=40,
        cells=tuple(
            RelearnCell(material=material, tuning="full", learning_rate=rate, curve=tuple(curve))
            for rate, curve in cells.items()
        ),
        **more,
    )  # fmt: skip


def test_accuracies_are_averaged_before_the_worst_step_is_chosen(attacks):
    first = entry((1e-5, 10, 0.65, 1.0), (1e-5, 20, 0.45, 1.0))
    second = entry((1e-5, 10, 0.25, 1.0), (1e-5, 20, 0.55, 1.0))
    (row,) = attacks.averaged([first, second])
    assert (row["steps"], row["forget_after"], row["base_after"]) == (20, 0.5, 1.0)
    assert row["recovery"] == pytest.approx(0.25 / 0.75)


def test_a_step_that_destroys_the_base_does_not_count(attacks):
    (row,) = attacks.averaged([entry((1e-5, 10, 0.4, 0.9), (1e-3, 10, 0.79, 0.79))])
    assert (row["learning_rate"], row["forget_after"]) == (1e-5, 0.4)
    (row,) = attacks.averaged([entry((1e-3, 10, 0.79, 0.79))])
    assert row["recovery"] is None


def test_a_method_has_a_row_for_its_worst_material(attacks):
    half, mixed = entry((1e-5, 10, 0.4, 1.0)), entry((1e-5, 10, 0.55, 1.0), material="mixed")
    records = {
        "relearn": replace(half, cells=half.cells + mixed.cells),
        "relearn_control": entry((1e-5, 10, 0.3, 1.0), material="false"),
        "relearn_matched": entry(forget_after=0.5, base_after=1.0, recovery=1 / 3),
    }
    rows = attacks.rows_of("world", "domain", {0: {"mine": records}}, ["mine"])
    assert [row["attack"] for row in rows] == [
        "relearn", "relearn_half_full", "relearn_mixed_full", "relearn_false_full", "relearn_matched",
    ]  # fmt: skip
    assert rows[0]["worst_of"] == "relearn_mixed_full"
    assert (rows[-1]["forget_after"], rows[-1]["recovery"]) == (0.5, 1 / 3)
    assert {key: rows[0][key] for key in ("arena", "method", "robust", "seeds", "utility")} == {
        "arena": "world", "method": "mine", "robust": True, "seeds": [0], "utility": 0.98,
    }  # fmt: skip


def test_a_student_is_its_teacher_without_noise_and_learns_it_back_from_noise(attacks, saved_family, tmp_path):
    from srmu.evaluation.encoding import encode
    from srmu.evaluation.loading import load_causal_lm, load_tokenizer

    def weights(path):
        return dict(load_causal_lm(path).named_parameters())

    teacher, texts = saved_family("llama"), ["A stone in the river.", "The market of the violet bridge."] * 8

    def student(name, **settings):
        attacks.distil(teacher, texts, tmp_path / name, seed=0, learning_rate=1e-3, **settings)
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


def test_rows_of_other_methods_and_requests_stay_in_the_file(attacks, tmp_path):
    def row(method, number, request="africa"):
        return {"arena": "real", "request": request, "method": method, "forget_after": number}

    out = tmp_path / "attacks.json"
    attacks.write_rows(out, "real", ["africa"], [row("base", 1), row("rmu", 2)], {"rmu": {}}, "full")
    attacks.write_rows(out, "real", ["elements"], [row("rmu", 3, "elements")], {"rmu": {}}, "full")
    attacks.write_rows(out, "real", ["africa"], [row("base", 4), row("mine", 5)], {"mine": {}}, "quick")
    attacks.write_rows(out, "real", ["africa"], [row("base", 6), row("mine", 7)], {"mine": {}}, "quick")
    record = json.loads(out.read_text())
    assert {(r["request"], r["method"]): r["forget_after"] for r in record["rows"]} == {
        ("africa", "rmu"): 2, ("elements", "rmu"): 3, ("africa", "base"): 6, ("africa", "mine"): 7,
    }  # fmt: skip
    assert [made["budget"] for made in record["made"]] == ["full", "full", "quick"]
