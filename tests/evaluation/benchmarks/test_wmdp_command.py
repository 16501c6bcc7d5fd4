"""`srmu benchmark wmdp` as a user calls it: the table, the record of a run, gate and report, and bad input."""

import json
from dataclasses import replace

import pytest

from evaluation.benchmarks.conftest import build
from evaluation.benchmarks.small_questions import write_wmdp
from export.conftest import write_run
from main_job import call
from measured_runs import make_results, write_measured
from srmu.cli.benchmark.wmdp import show_wmdp
from srmu.evaluation.benchmarks.wmdp_data import PARTS
from srmu.job.benchmarks.wmdp import benchmark_wmdp
from srmu.results.benchmarks.records import Benchmarks
from srmu.results.gate import check_requirements
from srmu.results.records import read_results
from srmu.results.report.page import render


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_wmdp(tmp_path_factory.mktemp("wmdp"), n=8)


@pytest.fixture(scope="module")
def model(tmp_path_factory, tokenizer):
    path = tmp_path_factory.mktemp("model") / "random"
    build().save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def benchmark(capsys, model, folder, *arguments):
    return call(capsys, "benchmark", "wmdp", str(model), "--data", str(folder), *map(str, arguments))


def test_the_table_has_the_four_columns_of_the_paper_and_says_that_it_is_a_sample(capsys, model, folder):
    code, out, err = benchmark(capsys, model, folder)
    words = " ".join(out.split())
    assert code == 0, err
    assert [name in words for name in ("WMDP-Bio", "WMDP-Cyber", "WMDP-Chem", "MMLU", "cloze")] == [True] * 4 + [False]
    assert "a sample: not to be compared with published numbers" in words
    assert "8 of 1,273" in words
    assert "Zephyr" not in out
    assert "32 questions: about" in " ".join(err.split())


def test_whole_parts_stand_beside_published_rows(capsys, model, folder):
    results = benchmark_wmdp(str(model), data=folder, parts=["bio", "bio_cloze"])
    show_wmdp({part: replace(result, n=PARTS[part].size) for part, result in results.items()})
    out = " ".join(capsys.readouterr().out.split())
    assert "sample" not in out
    assert "Zephyr 7B, RMU 31.2 28.2 57.1" in out
    assert "6.9B, unfiltered 43.0 36.3 44.9" in out
    assert out.count("Source: ") == 2


def test_the_harness_itself_finds_the_same(capsys, model, folder):
    pytest.importorskip("lm_eval", reason="the extra `eval` is not installed")
    found = []
    for flag in ((), ("--harness",)):
        code, out, err = benchmark(capsys, model, folder, "--parts", "bio,bio_cloze", "--json", *flag)
        assert code == 0, err
        found.append(json.loads(out)["benchmarks"]["wmdp"])
    ours, theirs = found
    assert list(ours) == ["bio", "bio_cloze"]
    assert [ours[part]["accuracy"] for part in ours] == [theirs[part]["accuracy"] for part in theirs]
    assert [part["asked"]["engine"] for part in theirs.values()] == ["lm-evaluation-harness"] * 2


def test_a_run_keeps_its_parts_and_the_gate_and_the_report_read_them(capsys, tmp_path, saved_family, folder):
    run = write_run(saved_family("llama", tokenizer="bytes"), tmp_path / "run")
    assert benchmark(capsys, run, folder, "--parts", "bio", "--limit", 3)[0] == 0
    assert benchmark(capsys, run, folder, "--parts", "mmlu,bio_cloze")[0] == 0
    results = read_results(run)
    assert list(results.benchmarks.wmdp) == ["bio", "mmlu", "bio_cloze"]
    assert results.benchmarks.wmdp["bio"].asked.limit == 3
    accuracy = results.benchmarks.wmdp["mmlu"].accuracy
    verdicts = check_requirements(
        ["benchmark.wmdp.bio.accuracy<=1", "benchmark.wmdp.mmlu.anatomy.accuracy<=1", "benchmark.wmdp.mmlu.accuracy>=0",
         "benchmark.wmdp.bio_cloze.accuracy<=1", "benchmark.wmdp.cyber.accuracy<=1"], results,
    )  # fmt: skip
    assert [verdict.status for verdict in verdicts] == ["pass"] * 4 + ["missing"]
    assert verdicts[2].value == accuracy
    shown = render([write_measured(tmp_path / "measured", make_results(benchmarks=results.benchmarks))])
    assert "wmdp.bio_cloze" in shown
    assert f'<data value="{accuracy!r}">' in shown
    again = replace(results.benchmarks.wmdp["bio"], n=9)
    assert results.benchmarks.merged(Benchmarks(wmdp={"bio": again})).wmdp["bio"].n == 9


def test_a_bad_record_ends_in_one_sentence_and_no_table(capsys, model, tmp_path):
    folder = write_wmdp(tmp_path, n=4)
    file = folder / "wmdp_cyber.jsonl"
    file.write_text(file.read_text().replace('"answer": ', '"answr": ', 1))
    code, out, err = benchmark(capsys, model, folder)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "line 1: 'answer' is missing" in err


def test_a_part_that_does_not_exist_is_refused_with_the_nearest(capsys, model, folder):
    code, out, err = benchmark(capsys, model, folder, "--parts", "bio,mmul")
    assert (code, out) == (2, "")
    assert "part='mmul' was asked for" in err
    assert "'mmlu'" in err
