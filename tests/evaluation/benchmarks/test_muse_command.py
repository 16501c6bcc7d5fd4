"""`srmu benchmark muse` as a user calls it: the row, the record of a run, the retrained model, and bad input."""

import json
from dataclasses import replace

import pytest

from export.conftest import write_run
from main_job import call
from srmu.cli.benchmark.muse import show_muse
from srmu.evaluation.benchmarks.muse_published import published
from srmu.job.benchmarks.muse import benchmark_muse
from srmu.results.benchmarks.records import BENCHMARK_FORMAT, BenchmarkRecord, Benchmarks
from srmu.results.gate import check_requirements
from srmu.results.records import read_results
from srmu.results.schema import to_json


@pytest.fixture
def benchmark(capsys, muse_folder):
    def run(model, *arguments):
        words = ("benchmark", "muse", str(model), "--corpus", "news", "--data", str(muse_folder))
        return call(capsys, *words, *map(str, arguments))

    return run


@pytest.fixture(scope="module")
def gold(muse_checkpoints, muse_folder):
    return benchmark_muse(str(muse_checkpoints["retrained"]), corpus="news", data=muse_folder)


@pytest.fixture
def gold_file(gold, tmp_path):
    path = tmp_path / "gold.json"
    record = BenchmarkRecord(format=BENCHMARK_FORMAT, benchmarks=Benchmarks(muse={"news": gold}))
    path.write_text(json.dumps(to_json(record)))
    return path


def test_without_a_retrained_model_the_table_says_what_is_missing(benchmark, muse_checkpoints):
    code, out, err = benchmark(muse_checkpoints["random"])
    words = " ".join(out.split())
    assert code == 0
    assert "not known: it needs the model retrained without the forget texts, --gold" in words
    assert "a sample: not to be compared with published numbers" in words
    assert "Llama" not in out
    assert "to continue 4 by 128 tokens" in " ".join(err.split())


def test_a_whole_corpus_stands_above_published_rows(capsys, gold):
    items = dict.fromkeys(gold.asked.items, 100)
    show_muse(replace(gold, asked=replace(gold.asked, items=items)))
    words = " ".join(capsys.readouterr().out.split())
    assert "sample" not in words
    assert "Published for Llama 2 7B (MUSE-News_target), news" in words
    assert "-99.81" in words
    assert "Source: OpenUnlearning" in words


def test_published_rows_begin_with_both_ends_of_the_scale():
    for corpus in ("news", "books"):
        target, retrained = published(corpus)[:2]
        assert target.privacy_leakage < -50
        assert retrained.privacy_leakage == 0
        assert retrained.verbatim_memorization < target.verbatim_memorization


def test_the_result_of_the_retrained_model_can_be_given_as_gold(benchmark, muse_checkpoints, gold_file):
    code, out, _ = benchmark(muse_checkpoints["target"], "--gold", gold_file, "--json")
    assert code == 0
    found = json.loads(out)["benchmarks"]["muse"]["news"]
    assert found["gold"]["privacy_leakage"] == -100
    assert found["asked"]["items"]["privleak/holdout"] == 4


def test_a_gold_file_of_another_corpus_limit_or_texts_is_refused(benchmark, muse_checkpoints, gold_file):
    content = json.loads(gold_file.read_text())
    result = content["benchmarks"]["muse"].pop("news")
    cases = [
        ({"books": result}, (), "holds results on books, and news was asked for"),
        ({"news": result}, ("--limit", 2), "was measured with another limit"),
        (
            {"news": {**result, "asked": {**result["asked"], "data_sha256": {}}}}, (),
            "was measured with other texts",
        ),
    ]  # fmt: skip
    for muse, flags, message in cases:
        gold_file.write_text(json.dumps({"format": 1, "benchmarks": {"muse": muse}}))
        code, out, err = benchmark(muse_checkpoints["target"], "--gold", gold_file, *flags)
        assert (code, out) == (2, "")
        assert message in err


def test_a_run_keeps_its_result_for_the_gate(benchmark, muse_checkpoints, tmp_path):
    run = write_run(muse_checkpoints["random"], tmp_path / "run")
    code, _, err = benchmark(run, "--limit", 1)
    assert code == 0, err
    verdicts = check_requirements(
        ["benchmark.muse.news.utility>=0", "benchmark.muse.news.privacy_leakage>-10"], read_results(run)
    )
    assert [verdict.status for verdict in verdicts] == ["pass", "missing"]


def test_a_model_too_short_for_a_continuation_is_refused(benchmark, saved_family):
    code, out, err = benchmark(saved_family("llama", tokenizer="bytes"), "--limit", 1)
    assert (code, out) == (2, "")
    assert "MUSE continues texts by 128 tokens, and the model has 128 positions in all" in " ".join(err.split())


def test_a_bad_file_ends_in_one_sentence_and_no_table(capsys, muse_checkpoints, tmp_path):
    code, out, err = call(
        capsys, "benchmark", "muse", str(muse_checkpoints["random"]), "--corpus", "news", "--data", str(tmp_path)
    )
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "MUSE needs verbmem/forget, knowmem/forget_qa" in err
