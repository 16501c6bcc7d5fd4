"""The TOFU protocol: who is forgotten, which trial is taken, and the rows that are made of its cells."""

import json

import numpy as np
import pytest
import tofu_roles
from tofu_roles import OTHERS, ROLES, is_told, questions, texts, told_authors
from tofu_rows import best_trial, make_rows, recoveries

from srmu.evaluation.benchmarks.tofu_metrics import forget_quality


def cell(method, *, phase="report", seed=0, **changes):
    sets = {"forget": {"probability": 0.5, "truth_ratio": 0.5}}
    return {
        "phase": phase, "method": method, "seed": seed, "trial": None, "settings": {}, "seconds": 2.0, "utility": 0.5,
        "told": 0.9, "untold": 0.8, "distance": 0.1, "log10_forget_quality": -3.0, "sets": sets,
        "truth_ratios": [0.5, 0.6, 0.7, 0.8], "relearned": {"before": 0.1, "after": 0.3, "taught": 0.5}, **changes,
    }  # fmt: skip


REFERENCES = [
    cell("full", relearned={"before": 0.9, "after": 0.9, "taught": 0.9}),
    cell("gold", relearned={"before": 0.1, "after": 0.14, "taught": 0.5}, log10_forget_quality=0.0),
]


def test_roles_are_exchanged_and_no_author_is_on_both_sides(tmp_path):
    records = [{"question": f"question {number}", "answer": f"answer {number}"} for number in range(4000)]
    (tmp_path / "full.jsonl").write_text("\n".join(map(json.dumps, records)))
    for name, role in ROLES.items():
        found = texts(tmp_path, role)
        forgotten, told = ({record["question"] for record in found[side]} for side in ("forget", "told"))
        assert not forgotten & told
        assert len(forgotten) == 20 * (21 if name == "tune" else 20)
        # Every second author that stays is told nowhere.
        assert len(told) == 20 * (10 if name == "tune" else 11)
    assert ROLES["tune"].forget == ROLES["report"].keep == OTHERS
    assert told_authors(ROLES["report"]) == {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 22}


def test_what_is_asked_follows_the_role(tmp_path):
    records = [{"question": f"question {number}", "answer": f"answer {number}"} for number in range(4000)]
    (tmp_path / "full.jsonl").write_text("\n".join(map(json.dumps, records)))
    wrong = [f"wrong {number}" for number in range(3)]

    def lines(numbers):
        asked = [
            {**records[number], "paraphrased_answer": "so", "paraphrased_question": "what", "perturbed_answer": wrong}
            for number in numbers
        ]
        return "\n".join(map(json.dumps, asked))

    (tmp_path / "forget10_perturbed.jsonl").write_text(lines(range(3600, 3700)))
    (tmp_path / "retain_perturbed.jsonl").write_text(lines(range(80)))
    for name in ("real_authors", "world_facts"):
        known = [{"question": f"{name} {number}", "answer": "so", "perturbed_answer": wrong} for number in range(5)]
        (tmp_path / f"{name}_perturbed.jsonl").write_text("\n".join(map(json.dumps, known)))
    report, tune = (questions(tmp_path, ROLES[name]) for name in ("report", "tune"))
    assert report.sets["forget"] == tune.sets["retain"]
    assert report.sets["retain"] == tune.sets["forget"]
    fewer = questions(tmp_path, ROLES["report"], 2, 20).sets
    assert (fewer["forget"], fewer["retain"]) == (report.sets["forget"][::2], report.sets["retain"][::20])
    told = is_told(tmp_path, ROLES["report"], report.sets["retain"])
    assert told == [True] * 20 + [False] * 20 + [True] * 20 + [False] * 20


def test_a_trial_that_keeps_enough_goes_before_one_that_forgets_better():
    def trial(utility, distance, untold=0.8):
        return cell("rmu", phase="tune", utility=utility, distance=distance, untold=untold)

    base, gentle, strong, harsh = cell("full", phase="tune"), trial(0.5, 0.9), trial(0.49, 0.4), trial(0.3, 0.1)
    assert best_trial([base, gentle, harsh, strong], "rmu") is strong
    # Utility may be whole where the authors that nobody told of are gone.
    assert best_trial([base, trial(0.5, 0.3, untold=0.1), strong], "rmu") is strong
    assert best_trial([base, harsh, trial(0.2, 0.0)], "rmu") is harsh
    assert best_trial([base, {**strong, "error": "diverged"}], "rmu") is None
    assert best_trial([strong], "rmu") is None  # nothing to compare with


def test_recovery_is_what_comes_back_beyond_ignorance():
    by_method = {"full": REFERENCES[:1], "gold": REFERENCES[1:]}
    assert recoveries([cell("rmu")], by_method) == [pytest.approx((0.3 - 0.1) / (0.9 - 0.1))]
    assert recoveries(REFERENCES[:1], by_method) == [1.0]
    assert recoveries([cell("rmu", seed=7)], by_method) == []


def test_rows_are_means_over_seeds_beside_the_references():
    cells = [
        *REFERENCES, cell("default", log10_forget_quality=-1.0), cell("default", seed=1, log10_forget_quality=-3.0),
        cell("rmu", phase="tune"), cell("rmu", utility=0.25),
    ]  # fmt: skip
    rows = {row["method"]: row for row in make_rows(cells, trials=3)}
    assert rows["default"]["default"] is True
    assert "default" not in rows["rmu"]
    assert rows["default"]["forget_quality"] == pytest.approx((0.1 + 0.001) / 2)
    assert (rows["default"]["seeds"], rows["default"]["trials"]) == (2, 0)
    assert (rows["rmu"]["utility_of_base"], rows["rmu"]["trials"]) == (0.5, 3)
    assert rows["gold"]["gold_recovery"] == rows["rmu"]["gold_recovery"] == pytest.approx(0.05)
    assert make_rows(cells[2:], trials=3) == []


def test_an_interval_holds_the_quality():
    generator = np.random.default_rng(0)
    own, other = generator.random(200), generator.random(200)
    cells = [REFERENCES[0], {**REFERENCES[1], "truth_ratios": other.tolist()}, cell("rmu", truth_ratios=own.tolist())]
    low, high = make_rows(cells, trials=0)[-1]["forget_quality_ci"]
    assert low < forget_quality(own, other).p_value < high


def test_the_committed_adapters_are_those_that_the_roles_ask_for():
    kept = {}
    for file in tofu_roles.ADAPTERS.glob("*/tofu_recipe.json"):
        record = json.loads(file.read_text())
        del record["found"]
        recipe = tofu_roles.TofuRecipe(**record)
        assert file.parent.name == f"{recipe.data}-{recipe.digest}"
        assert tofu_roles.RECIPE.items() <= record.items()
        kept[recipe.data, recipe.authors] = (file.parent / "adapter_model.safetensors").is_file()
    assert kept == {("full", tofu_roles.ALL): True, **{role.gold: True for role in ROLES.values()}}
