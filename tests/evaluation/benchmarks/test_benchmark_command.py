"""`srmu benchmark tofu` as a user calls it: the table, the record of a run, the gold standard, and bad input."""

import json
import shutil
from dataclasses import replace

import pytest

from evaluation.benchmarks.conftest import SLICE
from export.conftest import write_run
from main_job import call
from measured_runs import make_results, write_measured
from srmu.cli.benchmark.tofu import show_tofu
from srmu.errors import InputError
from srmu.evaluation.benchmarks.tofu_data import full_size
from srmu.evaluation.benchmarks.tofu_published import published
from srmu.job.benchmarks.tofu import benchmark_tofu
from srmu.results.benchmarks.records import BENCHMARK_FORMAT, BenchmarkRecord, Benchmarks, read_benchmarks
from srmu.results.gate import check_requirements
from srmu.results.records import read_results
from srmu.results.report.page import render
from srmu.results.schema import to_json

SHORT = ("--data", str(SLICE), "--split", "forget01", "--max-new-tokens", "6")


def benchmark(capsys, model, *arguments):
    return call(capsys, "benchmark", "tofu", str(model), *SHORT, *map(str, arguments))


def record(result):
    return BenchmarkRecord(format=BENCHMARK_FORMAT, benchmarks=Benchmarks(tofu={result.split: result}))


@pytest.fixture(scope="module")
def gold_file(checkpoints, tmp_path_factory):
    """The retrained model's own result, as `--json` prints it."""
    result = benchmark_tofu(str(checkpoints["retrained"]), split="forget01", data=SLICE, max_new_tokens=6)
    path = tmp_path_factory.mktemp("gold") / "gold.json"
    path.write_text(json.dumps(to_json(record(result))))
    return path


def test_without_a_gold_standard_the_table_says_what_is_missing(checkpoints, capsys):
    code, out, _ = benchmark(capsys, checkpoints["full"])
    assert code == 0
    assert all(name in out for name in ("forget", "retain", "real authors", "world facts", "model utility"))
    assert "not known: it needs the model retrained" in " ".join(out.split())


def test_a_sample_is_said_to_be_one_and_has_no_published_rows_beside_it(checkpoints, capsys):
    _, out, err = benchmark(capsys, checkpoints["full"])
    words = " ".join(out.split())
    assert "a sample: not to be compared with published numbers" in words
    assert "8 of 40" in words
    assert "Llama" not in out
    assert "28 questions: about" in " ".join(err.split())


def test_a_whole_split_stands_beside_published_rows(capsys, checkpoints, gold_file):
    result = read_benchmarks(gold_file).tofu["forget01"]
    sets = {
        name: replace(getattr(result, name), n=full_size("forget01", name))
        for name in ("forget", "retain", "real_authors", "world_facts")
    }
    show_tofu(replace(result, **sets))
    out = " ".join(capsys.readouterr().out.split())
    assert "sample" not in out
    assert "Published for Llama-3.2-1B-Instruct, forget01" in out
    assert "Published for Llama-2-7b-hf-chat, forget01" in out
    assert "Source: OpenUnlearning" in out


def test_published_rows_are_of_the_split_that_is_asked_for():
    found = [
        {row.method: row.forget_quality for row in table.rows}
        for split in ("forget01", "forget05", "forget10")
        for table in published(split)
    ]
    assert [rows["NPO"] for rows in found] == [0.92, 0.4, 0.14, 0.09, 0.02, 0.42]
    assert {rows["retrained"] for rows in found} == {1.0}


def test_json_is_a_record_that_can_be_given_as_gold(checkpoints, capsys, gold_file):
    code, out, _ = benchmark(capsys, checkpoints["retrained"], "--gold", gold_file, "--json")
    assert code == 0
    found = json.loads(out)["benchmarks"]["tofu"]["forget01"]
    assert found["gold"]["forget_quality"] == 1
    assert found["forget"]["n"] == len(found["truth_ratios"]) == 8
    assert found["asked"]["limit"] is None


def test_a_run_keeps_its_result_beside_those_of_other_splits(saved_family, tmp_path, capsys):
    base = saved_family("llama", tokenizer="bytes")
    run = write_run(base, tmp_path / "run")
    # The tiny tokenizer drops most letters; what is written plays no part here.
    code, _, err = benchmark(capsys, run, "--limit", 2)
    assert code == 0, err
    benchmarks = read_results(run).benchmarks
    found = benchmarks.tofu["forget01"]
    assert (list(benchmarks.tofu), found.model, found.gold) == (["forget01"], str(run / "model"), None)
    both = benchmarks.merged(Benchmarks(tofu={"forget05": replace(found, split="forget05")}))
    assert list(both.tofu) == ["forget01", "forget05"]
    assert both.tofu["forget01"] == found


def test_a_gate_and_the_report_read_the_numbers_that_a_run_keeps(saved_family, tmp_path, capsys):
    run = write_run(saved_family("llama", tokenizer="bytes"), tmp_path / "run")
    assert benchmark(capsys, run, "--limit", 1)[0] == 0
    results = read_results(run)
    utility = results.benchmarks.tofu["forget01"].model_utility
    name = "benchmark.tofu.forget01"
    verdicts = check_requirements(
        [f"{name}.model_utility<=1", f"{name}.forget.probability<=1", f"{name}.forget_quality>0.05",
         f"{name}.model_utility>=0.9*base", "benchmark.tofu.forget10.model_utility>0"], results,
    )  # fmt: skip
    assert [verdict.status for verdict in verdicts] == ["pass", "pass", "missing", "missing", "missing"]
    assert verdicts[0].value == utility
    assert "there are tofu.forget01" in verdicts[4].detail
    shown = render([write_measured(tmp_path / "measured", make_results(benchmarks=results.benchmarks))])
    assert "extraction_strength" in shown
    assert f'<data value="{utility!r}">' in shown


def test_a_damaged_file_of_results_is_named(tmp_path):
    (tmp_path / "gold.json").write_text('{"format": 1, "benchmarks": {"tofu": {"forget01": {}}}}')
    with pytest.raises(InputError, match=r"benchmarks\.tofu\.forget01"):
        read_benchmarks(tmp_path / "gold.json")


def test_another_splits_gold_is_refused_by_its_recipe(checkpoints, tmp_path, capsys):
    gold = shutil.copytree(checkpoints["retrained"], tmp_path / "gold")
    (gold / "tofu_recipe.json").write_text('{"data": "retain90"}')
    code, out, err = benchmark(capsys, checkpoints["full"], "--gold", gold)
    assert (code, out) == (2, "")
    assert "was trained on 'retain90', and the gold standard of forget01 is a model trained on retain99" in err
    (gold / "tofu_recipe.json").write_text('{"data": "retain99"}')
    assert benchmark(capsys, checkpoints["full"], "--gold", gold)[0] == 0


def test_a_gold_file_of_another_split_or_measured_otherwise_is_refused(checkpoints, tmp_path, capsys, gold_file):
    content = json.loads(gold_file.read_text())
    other = tmp_path / "other.json"
    other.write_text(
        json.dumps({**content, "benchmarks": {"tofu": {"forget10": content["benchmarks"]["tofu"]["forget01"]}}})
    )
    code, out, err = benchmark(capsys, checkpoints["full"], "--gold", other)
    assert (code, out) == (2, "")
    assert "holds results on forget10, and forget01 was asked for" in err
    code, out, err = benchmark(capsys, checkpoints["full"], "--gold", gold_file, "--limit", 2, "--space-apart")
    assert (code, out) == (2, "")
    assert "was measured with other limit, space_apart" in err


def test_a_gold_that_knows_the_forgotten_is_pointed_out(checkpoints, capsys):
    code, _, err = benchmark(capsys, checkpoints["retrained"], "--gold", checkpoints["full"])
    assert code == 0
    assert "Check that it was trained on retain99 alone" in " ".join(err.split())


def test_a_missing_perturbed_answer_ends_in_one_sentence_and_no_table(checkpoints, slice_copy, capsys):
    folder = slice_copy()
    path = folder / "retain_perturbed.jsonl"
    lines = path.read_text().splitlines()
    record = json.loads(lines[4])
    del record["perturbed_answer"]
    path.write_text("\n".join([*lines[:4], json.dumps(record), *lines[5:]]))
    code, out, err = call(capsys, "benchmark", "tofu", str(checkpoints["full"]), *SHORT, "--data", str(folder))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "line 5: 'perturbed_answer' is missing" in err


def test_no_room_for_an_answer_is_refused(checkpoints, capsys):
    assert benchmark(capsys, checkpoints["full"], "--max-new-tokens", 0)[0] == 2
