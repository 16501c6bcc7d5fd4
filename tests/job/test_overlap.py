"""What `srmu overlap` reports, exact on texts counted by hand."""

import json
import sys

import pytest

import srmu
from srmu.cli.app import main
from srmu.results.overlap_records import OverlapReport
from srmu.results.schema import from_json
from tiny_tokenizers import WORDS

FORGET = ["The river runs. The river sings.", "copper mirror castle"]
RETAIN = ["the river is old", "a stone runs", "COPPER mirror  castle"]


@pytest.fixture
def sides(tmp_path):
    def write(forget=FORGET, retain=RETAIN, key="text"):
        files = []
        for name, texts in (("forget", forget), ("retain", retain)):
            file = tmp_path / f"{name}.jsonl"
            file.write_text("\n".join(json.dumps({key: text}) for text in texts))
            files += [f"--{name}", str(file)]
        return files

    return write


def run_json(capsys, *arguments):
    code = main(["overlap", *arguments, "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def test_two_texts_whose_overlap_is_known_by_hand(sides, capsys):
    record = run_json(capsys, *sides(FORGET[:1], RETAIN[:2]))
    unigram = record["unigram"]
    # the, river, runs, sings against the, river, is, old, a, stone, runs.
    assert unigram["containment"] == 3 / 4
    assert unigram["jaccard"] == 3 / 8
    assert unigram["token_containment"] == 5 / 6
    assert unigram["without_stop_words"]["jaccard"] == 2 / 5
    assert record["ngrams"]["2"]["jaccard"] == 1 / 8
    assert record["ngrams"]["3"]["jaccard"] == 0
    assert record["same_documents"] == []
    assert record["near_duplicates"]["pairs"] == []
    assert record["warnings"] == []


def test_a_forget_document_in_the_retain_set_is_warned_of(sides, capsys):
    record = run_json(capsys, *sides())
    assert record["same_documents"] == [1]
    assert record["near_duplicates"]["pairs"] == []  # it is the same, not nearly
    assert "1 of 2 forget document is also in the retain set" in record["warnings"][0]


def test_a_near_duplicate_is_warned_of(sides, capsys):
    text = " ".join(WORDS[:40])
    record = run_json(capsys, *sides([text, "copper mirror"], ["winter", text + " silver"]))
    (pair,) = record["near_duplicates"]["pairs"]
    assert (pair["forget"], pair["retain"]) == (0, 1)
    assert pair["similarity"] == 38 / 39
    assert "near-duplicate" in record["warnings"][0]


def test_the_function_returns_the_report_that_the_command_prints(sides, capsys):
    files = sides()
    report = srmu.overlap([files[1]], [files[3]])
    assert report.same_documents == (1,)
    assert from_json(OverlapReport, run_json(capsys, *files)) == report


def test_without_datasketch_the_report_says_that_near_duplicates_were_not_looked_for(sides, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasketch", None)
    record = run_json(capsys, *sides())
    assert set(record["near_duplicates"]) == {"not_measured"}
    assert "pip install" in record["near_duplicates"]["not_measured"]
    assert any("not looked for" in warning for warning in record["warnings"])
    assert main(["overlap", *sides()]) == 0
    assert "not looked for" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("retain", "grade"),
    [
        (["red green blue"], "little entangled"),
        (["river " + " ".join(WORDS[30:40]) + " runs"], "somewhat entangled"),
        (["the river runs and sings"], "strongly entangled"),
    ],
)
def test_the_verdict_follows_the_jaccard_index(sides, capsys, retain, grade):
    record = run_json(capsys, *sides(["the river runs"], retain))
    assert grade in record["verdict"]
    assert f"{100 * record['unigram']['jaccard']:.1f} %" in record["verdict"]


def test_the_papers_figure_is_named_and_said_to_be_of_unknown_counting(sides, capsys):
    assert main(["overlap", *sides()]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "20.8 %" in shown
    assert "27.5 %" in shown
    assert "does not say how it counts" in shown
    assert "warning:" in shown
    assert "entangled" in shown


def test_sources_are_repeatable_and_the_text_field_is_named(sides, capsys):
    files = sides(key="body")
    record = run_json(capsys, *files, "--forget", files[3], "--text-field", "body")
    assert record["forget"]["documents"] == 5
    assert record["unigram"]["containment"] < 1


def test_with_a_model_every_layer_is_reported(sides, capsys, saved_family):
    forget = [f"{one} {two} {one} {one}" for one in WORDS[:6] for two in WORDS[:6]]
    retain = [f"{one} {two} {one} {one}" for one in WORDS[30:36] for two in WORDS[30:36]]
    files = [*sides(forget, retain), "--model", str(saved_family("llama", tokenizer="words"))]
    record = run_json(capsys, *files)
    layers = record["model"]["layers"]
    assert [layer["layer"] for layer in layers] == list(range(5))
    assert layers[0]["auc"] > 0.8
    assert set(layers[0]["maps"]) == {"ratio", "difference", "product"}
    assert sum(layers[0]["maps"]["ratio"]["histogram"]) == record["model"]["hidden_size"] == 32
    assert "AUC" in record["verdict"]
    assert main(["overlap", *files]) == 0
    assert "Importance maps at layer 2" in capsys.readouterr().out


def test_self_written_texts_cannot_be_compared_yet(sides, capsys):
    assert main(["overlap", *sides()[:2], "--retain", "self"]) == 2
    assert "'self'" in capsys.readouterr().err


def test_an_unknown_dtype_is_refused_with_the_nearest(sides, capsys, saved_family):
    assert main(["overlap", *sides(), "--model", str(saved_family("llama")), "--dtype", "float23"]) == 2
    assert "Did you mean 'float32'?" in capsys.readouterr().err
