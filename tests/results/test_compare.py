import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from measured_runs import (
    GROUPS,
    add_evaluated,
    make_manifest,
    make_results,
    question_result,
    text_result,
    write_demo,
    write_measured,
)
from sealed import seal
from srmu.cli.app import main
from srmu.errors import InputError
from srmu.results.compare import compare_runs, frontier
from srmu.results.compare_formats import columns, plot_frontier, rows, to_csv, to_json, to_markdown
from srmu.results.groups import Change, TextChange
from srmu.results.records import Results


@pytest.fixture
def two_runs(tmp_path: Path) -> list[Path]:
    other = make_results({**GROUPS, "forget": (0.92, 0.91, 0.02), "entangled": (0.95, 0.85, 0.03)})
    return [write_measured(tmp_path / "a"), write_measured(tmp_path / "b", results=other)]


def test_a_table_holds_the_base_and_each_run_with_its_cost(two_runs: list[Path]) -> None:
    table = rows(compare_runs(two_runs))
    assert [row[0] for row in table] == ["base", "a", "b"]
    assert table[0][2] == "0.920 ± 0.051"
    assert table[1][-2:] == ["48.2", "1833"]


def test_only_differences_beyond_chance_are_marked(two_runs: list[Path]) -> None:
    base, a, b = rows(compare_runs(two_runs))
    marked = [["*" in cell for cell in row[2:5]] for row in (base, a, b)]
    #                    forget, entangled, neighbours
    assert marked == [[False] * 3, [True, False, False], [False, True, False]]


def test_the_base_against_itself_is_zero_and_unmarked(tmp_path: Path) -> None:
    same = {name: (before, before, 0.0) for name, (before, _, _) in GROUPS.items()}
    comparison = compare_runs([write_measured(tmp_path / "a", results=make_results(same))])
    scores = comparison.runs[0].questions.values()
    assert [(score.difference, score.significant) for score in scores] == [(0.0, False)] * 3
    assert frontier(comparison.runs[0], comparison) == (1.0, 1.0)


def test_an_unknown_standard_error_is_not_a_mark(tmp_path: Path) -> None:
    run = write_measured(tmp_path / "a", results=make_results({"forget": (0.9, 0.0, None)}))
    assert not compare_runs([run]).runs[0].questions["forget"].significant


def test_the_frontier_takes_the_kept_group_that_suffered_most(two_runs: list[Path]) -> None:
    comparison = compare_runs(two_runs)
    # Neighbours are on neither side, however far they fell.
    assert frontier(comparison.runs[0], comparison) == pytest.approx((0.28 / 0.92, 0.94 / 0.95))


def test_without_questions_the_frontier_is_of_texts(tmp_path: Path) -> None:
    comparison = compare_runs([write_measured(tmp_path / "a", results=make_results({}))])
    assert frontier(comparison.runs[0], comparison) == pytest.approx((4.21 / 6.43, 3.87 / 3.88))


def test_runs_on_different_bases_do_not_belong_together(two_runs: list[Path], tmp_path: Path) -> None:
    manifest = make_manifest()
    manifest["base"]["shards"] = {"model.safetensors": "99" * 32}
    other = write_measured(tmp_path / "c", manifest=manifest)
    with pytest.raises(InputError, match="base weights differ"):
        compare_runs([*two_runs, other])


@pytest.mark.parametrize("groups", [{"forget": (0.92, 0.3, 0.1)}, {**GROUPS, "entangled": (0.6, 0.5, 0.1)}])
def test_runs_that_were_asked_something_else_do_not_belong_together(
    groups: dict, two_runs: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="do not belong together"):
        compare_runs([two_runs[0], write_measured(tmp_path / "c", results=make_results(groups))])


def test_a_run_that_was_not_measured_or_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="was not measured"):
        compare_runs([write_measured(tmp_path / "a", results=Results())])
    with pytest.raises(InputError, match="no run directory"):
        compare_runs([tmp_path / "nowhere"])
    broken = write_measured(tmp_path / "b")
    results = json.loads((broken / "results.json").read_text())
    del results["questions"]["forget"]["change"]["accuracy"]
    (broken / "results.json").write_text(json.dumps(results))
    seal(broken)
    with pytest.raises(InputError, match=r"questions\.forget\.change\.accuracy' is missing"):
        compare_runs([broken])


def test_a_folder_of_runs_is_compared_in_the_order_in_which_they_ended(tmp_path: Path) -> None:
    folder = write_demo(tmp_path / "demo")
    comparison = compare_runs([folder])
    assert [entry.name for entry in comparison.runs] == ["rmu", "default"]
    assert comparison.runs[1].questions["forget"].significant
    assert not comparison.runs[1].questions["entangled"].significant
    assert compare_runs([folder / "rmu", folder / "default"]) == comparison


def test_runs_that_took_a_group_for_different_sides_do_not_belong_together(tmp_path: Path) -> None:
    groups = {**GROUPS, "wmdp_bio": (0.6, 0.3, 0.05)}
    other = make_results(groups)
    declared = replace(other, sides={**other.sides, "wmdp_bio": "forget"})
    runs = [write_measured(tmp_path / "a", other), write_measured(tmp_path / "b", declared)]
    with pytest.raises(InputError, match="'wmdp_bio' is 'kept' in one and 'forget' in the other"):
        compare_runs(runs)
    assert "wmdp_bio ↓" in columns(compare_runs(runs[1:]))
    assert "wmdp_bio ↑" in columns(compare_runs(runs[:1]))


def test_every_format_holds_the_same_numbers(two_runs: list[Path]) -> None:
    comparison = compare_runs(two_runs)
    loaded = json.loads(to_json(comparison))
    assert loaded["runs"][0]["questions"]["forget"]["value"] == 0.28
    lines = list(csv.DictReader(io.StringIO(to_csv(comparison))))
    (line,) = [
        line for line in lines if line["run"] == "a" and line["group"] == "forget" and line["kind"] == "accuracy"
    ]
    assert (line["value"], line["significant"], line["side"]) == ("0.28", "True", "forget")
    markdown = to_markdown(comparison).splitlines()
    assert len({row.count("|") for row in markdown[:5]}) == 1
    assert "0.280 ± 0.051 \\*" in markdown[3]


def test_a_model_that_gives_no_number_is_shown_as_such(tmp_path: Path) -> None:
    group = text_result(3.21, 5.43, 0.31)
    broken = replace(group, result=replace(group.result, nll=None), change=TextChange(Change(3.21, None, None, None)))
    results = make_results(texts={"forget": broken})
    comparison = compare_runs([write_measured(tmp_path / "a", results=results)])
    assert "nan" in rows(comparison)[1][5]
    assert json.loads(to_json(comparison))["runs"][0]["texts"]["forget"]["value"] is None


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_frontier_is_drawn(ending: str, two_runs: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "plots" / f"frontier.{ending}"
    plot_frontier(compare_runs(two_runs), file)
    assert file.stat().st_size > 1000
    with pytest.raises(InputError, match=r"\.png"):
        plot_frontier(compare_runs(two_runs), tmp_path / "frontier.unknown")
    alone = write_measured(tmp_path / "alone", results=Results(questions={"forget": question_result(0.9, 0.3, 0.1)}))
    with pytest.raises(InputError, match="no frontier"):
        plot_frontier(compare_runs([alone]), file)


def test_the_command_prints_each_format(two_runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("table", "markdown", "csv", "json"):
        assert main(["compare", *map(str, two_runs), "--format", form]) == 0
        assert "0.28" in capsys.readouterr().out
    assert main(["compare", *map(str, two_runs), "--format", "jsn"]) == 2
    assert "Did you mean 'json'" in capsys.readouterr().err


def test_what_was_evaluated_later_stands_beside_the_run_s_own_and_is_marked_by_source(tmp_path: Path) -> None:
    runs = [write_measured(tmp_path / name, results=add_evaluated(make_results())) for name in ("a", "b")]
    comparison = compare_runs(runs)
    labels = [measure.label for measure in comparison.base.evaluated]
    assert labels == [
        "forget, accuracy (evaluate)", "notes, nll (evaluate)", "quotes, exact_match (evaluate)",
        "quotes, rouge_l_recall (evaluate)", "quotes, rouge_l_f1 (evaluate)",
        "quotes, extraction_strength (evaluate)", "quotes, exact_memorization (evaluate)",
        "local_task, acc,none (evaluate)",
    ]  # fmt: skip
    base, run, _ = rows(comparison)
    assert [[*base[7:10], base[14]], [*run[7:10], run[14]]] == [
        ["0.750 ± 0.051", "2.250", "0.625", "0.688 ± 0.087"],
        ["0.250 ± 0.051 *", "2.500 *", "0.500", "0.562 ± 0.087"],
    ]
    # The run's own groups alone make the frontier.
    assert frontier(comparison.runs[0], comparison) == pytest.approx((0.28 / 0.92, 0.94 / 0.95))
    assert {entry["kind"] for entry in json.loads(to_json(comparison))["runs"][0]["evaluate"]} == {
        "questions", "texts", "completions", "tasks",
    }  # fmt: skip
    assert "evaluate acc,none" in to_csv(comparison)


def test_runs_that_were_only_evaluated_later_can_be_compared(tmp_path: Path) -> None:
    only = write_measured(tmp_path / "a", results=add_evaluated(Results()))
    assert len(compare_runs([only]).runs[0].evaluated) == 8


def test_a_later_evaluation_that_one_run_lacks_is_left_out(tmp_path: Path) -> None:
    runs = [write_measured(tmp_path / "a"), write_measured(tmp_path / "b", results=add_evaluated(make_results()))]
    assert not compare_runs(runs).base.evaluated


def test_the_terminal_names_every_run_in_eighty_columns(two_runs: list[Path], capsys: pytest.CaptureFixture) -> None:
    assert main(["compare", *map(str, two_runs)]) == 0
    head = capsys.readouterr().out.splitlines()[1].split()
    assert head == ["run", "base", "a", "b"]
