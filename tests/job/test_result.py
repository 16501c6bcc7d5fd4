"""What `unlearn` gives back in Python: matrices, a report, a model, and a run directory only where it is asked for."""

import gc
import tempfile

import pytest
import torch

from checkpoint_files import all_bytes
from families import find_family
from main_job import FORGET, RETAIN, SETTINGS
from srmu import unlearn
from srmu.errors import InputError
from srmu.export.verify import verify_run
from srmu.job.result import COLUMNS
from srmu.results.records import Answer, Results
from srmu.surgery.checkpoint import open_checkpoint, read_tensor
from tiny_tokenizers import TOKENIZERS, make_tokenizer

TRAINED = find_family("llama").down_projection_names()


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(**TOKENIZERS["no_bos_no_pad_left"])


@pytest.fixture(scope="module")
def model():
    return find_family("llama").build()


@pytest.fixture(scope="module")
def result(model, tokenizer):
    return unlearn(model, forget=FORGET, retain=RETAIN, tokenizer=tokenizer, **{**SETTINGS, "steps": 6})


def weights(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def changed(before, after):
    return [name for name, tensor in before.items() if not torch.equal(tensor, after[name])]


def test_nothing_is_left_behind_when_the_result_is_gone(model, tokenizer, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path / "work")
    settings = {**SETTINGS, "steps": 2, "eval": False}
    result = unlearn(model, forget=FORGET, retain=RETAIN, tokenizer=tokenizer, **settings)
    assert result.model_dir.is_relative_to(tmp_path / "temporary")
    assert result.report == Results()
    assert result.rows() == []
    del result
    gc.collect()
    assert all_bytes(tmp_path) == {"temporary": None, "work": None}


def test_a_run_that_fails_leaves_nothing_behind(model, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(InputError, match="out of range"):
        unlearn(model, forget=FORGET, tokenizer=tokenizer, layer=99)
    gc.collect()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("settings", [{"save_every": 2}, {"track": "tensorboard"}])
def test_what_is_written_for_later_needs_a_run_directory(model, tokenizer, settings):
    with pytest.raises(InputError, match=r"without a run directory\. Name one with out=PATH"):
        unlearn(model, forget=FORGET, retain=RETAIN, tokenizer=tokenizer, **settings)


def test_the_matrices_are_those_of_the_checkpoint_that_changed(result, model):
    assert sorted(result.matrices) == sorted(TRAINED)
    checkpoint = open_checkpoint(result.model_dir)
    for name, matrix in result.matrices.items():
        assert torch.equal(matrix, read_tensor(checkpoint, name))
        assert not torch.equal(matrix, weights(model)[name])


def test_the_model_is_a_new_one_unless_it_is_to_be_changed_in_place(result, tokenizer):
    given = find_family("llama").build()
    before = weights(given)
    own = unlearn(given, forget=FORGET, retain=RETAIN, tokenizer=tokenizer, **{**SETTINGS, "steps": 2, "eval": False})
    patched = own.model()
    assert patched is not given
    assert changed(before, weights(given)) == []
    assert changed(before, weights(patched)) == TRAINED
    assert own.model(inplace=True) is given
    assert changed(weights(patched), weights(given)) == []
    by_path = unlearn(str(result.model_dir), forget=FORGET, retain=RETAIN, **{**SETTINGS, "steps": 2, "eval": False})
    with pytest.raises(InputError, match="no model object was given"):
        by_path.model(inplace=True)


def test_what_is_saved_is_a_run_directory_that_verifies(result, tmp_path):
    path = result.save(tmp_path / "deep" / "run")
    assert path == tmp_path / "deep" / "run"
    assert all_bytes(path) == all_bytes(result.run_dir)
    checks = verify_run(path)
    assert {check.status for check in checks if check.name != "signature"} == {"pass"}
    # Nobody has signed it.
    assert [check.status for check in checks if check.name == "signature"] == ["skipped"]
    with pytest.raises(InputError, match="is not an empty directory"):
        result.save(path)


def test_the_report_is_shown_as_rows_a_frame_and_a_table(result):
    pandas = pytest.importorskip("pandas")
    rows = result.rows()
    assert [(row["kind"], row["group"]) for row in rows] == [("texts", "forget"), ("texts", "retain")]
    forget = result.report.texts["forget"].change.nll
    assert (rows[0]["before"], rows[0]["after"]) == (forget.before, forget.after)
    assert rows[0]["change"] == pytest.approx(rows[0]["after"] - rows[0]["before"])
    frame = result.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == list(COLUMNS)
    assert frame.to_dict("records") == rows
    page = result._repr_html_()
    assert page.count("<tr>") == 1 + len(rows)
    assert f"{forget.after:.3f}" in page
    assert "http" not in page


def test_answers_come_before_and_after_and_are_not_stored(result):
    assert result.answers
    assert all(isinstance(answer, Answer) and answer.base is not None for answer in result.answers)
    stored = b"".join(content or b"" for name, content in all_bytes(result.run_dir).items() if name.endswith(".json"))
    assert all(answer.prompt.encode() not in stored for answer in result.answers)


def test_in_a_console_a_result_shows_itself_in_one_short_line_without_places(result):
    assert repr(result).startswith(f"UnlearnResult({len(result.matrices)} matrices changed")
    assert len(repr(result)) < 200
    assert str(result.run_dir) not in repr(result)
