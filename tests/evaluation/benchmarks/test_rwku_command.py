"""`srmu benchmark rwku` as a user calls it: the tables, what is missing, the record of a run, and bad input."""

import json
import shutil

import pytest

from evaluation.benchmarks.conftest import build
from evaluation.benchmarks.small_questions import SUBJECTS, write_rwku
from export.conftest import write_run
from main_job import call
from srmu.errors import InputError
from srmu.evaluation.benchmarks.rwku_published import PUBLISHED
from srmu.evaluation.benchmarks.rwku_words import split_words, words_are_known
from srmu.job.benchmarks import rwku as job
from srmu.job.benchmarks.rwku import benchmark_rwku
from srmu.results.gate import check_requirements
from srmu.results.records import read_results

TEMPLATE = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}{% if add_generation_prompt %} >{% endif %}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_rwku(tmp_path_factory.mktemp("rwku"))
    for name in ("utility_reason", "utility_fluency"):  # they write long answers
        (folder / f"{name}.jsonl").unlink()
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory, tokenizer):
    path = tmp_path_factory.mktemp("model") / "random"
    build().save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def benchmark(capsys, model, folder, *arguments):
    return call(capsys, "benchmark", "rwku", str(model), "--data", str(folder), *map(str, arguments))


def test_the_tables_have_the_papers_columns_and_say_what_is_missing(capsys, model, folder):
    code, out, err = benchmark(capsys, model, folder, "--plain")
    words = " ".join(out.split())
    assert code == 0, err
    assert "RWKU, 2 of 12 sets not measured" in words
    assert "utility_reason.jsonl is not in the folder" in words
    assert "items 4 4 8 16 4 4 8" in words
    assert "items 4 4 4 0 4 4 0" in words
    assert all(name in out for name in ("FM", "RM", "Gen", "Rea", "Tru", "Fac", "Flu", "reverse query"))
    assert "Published for Llama 3 8B Instruct" in words
    assert "NPO (full) 33.4 21.0 24.8 26.2 76.0 69.9 72.6" in words
    assert "each forgotten by a model of its own" in words
    assert "answers; the rest is scored" in " ".join(err.split())


def test_a_sample_of_one_person_has_no_published_rows_beside_it(capsys, model, folder):
    code, out, _ = benchmark(capsys, model, folder, "--plain", "--limit", 1, "--subject", SUBJECTS[0])
    words = " ".join(out.split())
    assert code == 0
    assert f"RWKU, {SUBJECTS[0]}, 2 of 12 sets not measured, a sample" in words
    assert "Published" not in out


def test_a_model_without_a_template_is_refused_unless_asked_plainly(capsys, model, folder, tmp_path, tokenizer):
    code, out, err = benchmark(capsys, model, folder)
    assert (code, out) == (2, "")
    assert "has no chat template, and RWKU asks in one. Give --plain" in " ".join(err.split())
    chat = shutil.copytree(model, tmp_path / "chat")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(chat)
    tokenizer.chat_template = None
    code, out, err = benchmark(capsys, chat, folder, "--sets", "forget_level1", "--json")
    assert code == 0, err
    assert json.loads(out)["benchmarks"]["rwku"]["all"]["asked"]["chat"] is True


def test_a_table_of_one_level_has_no_number_for_all(capsys, model, folder):
    _, out, _ = benchmark(capsys, model, folder, "--plain", "--sets", "forget_level1")
    assert "items 4 0 0 0 0 0 0" in " ".join(out.split())


def test_a_run_keeps_its_result_by_person_and_the_gate_reads_it(capsys, tmp_path, saved_family, folder):
    run = write_run(saved_family("llama", tokenizer="bytes"), tmp_path / "run")
    sets = ("--sets", "forget_level1,forget_level2,forget_level3,mia_forget", "--plain", "--limit", 1)
    assert benchmark(capsys, run, folder, *sets)[0] == 0
    assert benchmark(capsys, run, folder, *sets, "--subject", SUBJECTS[1])[0] == 0
    results = read_results(run)
    assert list(results.benchmarks.rwku) == ["all", SUBJECTS[1]]
    found = results.benchmarks.rwku["all"]
    assert found.pooled("neighbor") is None
    verdicts = check_requirements(
        ["benchmark.rwku.all.forget.all<=1", f"benchmark.rwku.{SUBJECTS[1]}.membership.forget.loss>0",
         "benchmark.rwku.all.neighbor.all>0", "benchmark.rwku.all.utility.general>0"], results,
    )  # fmt: skip
    assert [verdict.status for verdict in verdicts] == ["pass", "pass", "missing", "missing"]


def test_all_is_the_mean_over_probes_not_over_levels(model, folder):
    result = benchmark_rwku(
        str(model), data=folder, sets=["forget_level1", "forget_level2", "forget_level3"], plain=True
    )
    counts = {level: found.n for level, found in result.forget.items()}
    assert counts == {"level1": 4, "level2": 4, "level3": 8}
    scores = [found.score for found in result.forget.values()]
    assert result.pooled("forget") == pytest.approx((4 * scores[0] + 4 * scores[1] + 8 * scores[2]) / 16)


def test_fluency_is_said_to_be_missing_where_its_words_cannot_be_told(monkeypatch, model, tmp_path):
    folder = write_rwku(tmp_path / "rwku")
    monkeypatch.setattr(job, "words_are_known", lambda: False)
    with pytest.raises(InputError, match=r"python -m nltk\.downloader punkt_tab"):
        benchmark_rwku(str(model), data=folder, sets=["utility_fluency"], plain=True)
    (folder / "utility_reason.jsonl").unlink()
    result = benchmark_rwku(str(model), data=folder, limit=1, plain=True)
    assert "punkt_tab" in result.missing["utility_fluency"]
    assert list(result.utility) == ["general", "truthfulness", "factuality"]


def test_words_need_nltks_model_of_sentences(monkeypatch, tmp_path):
    nltk = pytest.importorskip("nltk")
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    assert not words_are_known()
    model = tmp_path / "tokenizers" / "punkt_tab" / "english"
    model.mkdir(parents=True)
    for name in ("collocations.tab", "sent_starters.txt", "ortho_context.tab"):
        (model / name).write_text("")
    (model / "abbrev_types.txt").write_text("dr\n")
    assert words_are_known()
    assert split_words(["Dr. Quill reads. She doesn't."]) == [["Dr.", "Quill", "reads", ".", "She", "does", "n't", "."]]


def test_a_bad_record_ends_in_one_sentence_and_no_table(capsys, model, tmp_path):
    folder = write_rwku(tmp_path)
    file = folder / "mia_retain.jsonl"
    file.write_text(file.read_text().replace('"text": ', '"txt": ', 1))
    code, out, err = benchmark(capsys, model, folder, "--plain")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "line 1: 'text' is missing" in err


def test_published_rows_have_a_number_for_every_column():
    assert {len(row) for rows in PUBLISHED.values() for row in rows.values()} == {14}
    for rows in PUBLISHED.values():
        for fb, qa, aa, together, *_ in rows.values():
            assert min(fb, qa, aa) <= together <= max(fb, qa, aa)
