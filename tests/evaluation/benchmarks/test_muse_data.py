"""MUSE's files: every form that copies of the data set have, and what is wrong with a bad one."""

import json
import shutil

import pytest

from srmu.errors import InputError
from srmu.evaluation.benchmarks import muse_data
from srmu.evaluation.benchmarks.muse_data import PARTS, read_muse


@pytest.fixture
def folder(muse_folder, tmp_path):
    return shutil.copytree(muse_folder, tmp_path / "muse")


def change(folder, part, edit):
    path = folder / f"{part}.json"
    rows = json.loads(path.read_text())
    edit(rows)
    path.write_text(json.dumps(rows))


def test_json_lines_and_parquet_hold_what_json_holds(folder):
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    expected = read_muse(folder, "news")
    for part, fields in PARTS.items():
        path = folder / f"{part}.json"
        rows = [row if isinstance(row, dict) else {fields[0]: row} for row in json.loads(path.read_text())]
        path.unlink()
        if part.startswith("knowmem"):
            parquet.write_table(pyarrow.Table.from_pylist(rows), folder / f"{part}-00000-of-00001.parquet")
        else:
            path.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_muse(folder, "news") == expected


def test_the_hub_is_asked_for_each_part_by_its_name(folder, monkeypatch):
    asked = []

    def read(source, where, wanted, notes):
        asked.append(source)
        part = source.split(":", 2)[2]
        rows = json.loads((folder / f"{part.replace(':', '/')}.json").read_text())
        return ((where, row) for row in rows)

    monkeypatch.setattr(muse_data, "read_records", read)
    read_muse(None, "books")
    assert asked[0] == "hub:muse-bench/MUSE-Books:verbmem:forget"
    assert len(asked) == len(PARTS)


def test_a_limit_takes_the_first_items_and_all_examples(folder):
    data = read_muse(folder, "news", limit=2)
    assert [len(part) for part in (data.verbatim.asked, data.forget.asked, data.retain.asked, data.members)] == [2] * 4
    assert len(data.forget_examples.asked) == 2
    assert len(read_muse(folder, "news", limit=1).retain_examples.asked) == 2
    assert not data.is_complete


def test_missing_parts_are_all_named(folder):
    (folder / "privleak" / "holdout.json").unlink()
    (folder / "knowmem" / "retain_qa.json").unlink()
    with pytest.raises(InputError, match="needs knowmem/retain_qa, privleak/holdout in"):
        read_muse(folder, "news")


@pytest.mark.parametrize(
    ("part", "edit", "message"),
    [
        ("knowmem/forget_qa", lambda rows: rows[2].pop("answer"), r"item 3: 'answer' is missing"),
        ("verbmem/forget", lambda rows: rows[0].update(gt=7), r"item 1: 'gt' is '7', expected a text"),
        ("privleak/forget", lambda rows: rows.clear(), r"privleak/forget in .*: there is no record"),
        ("privleak/holdout", lambda rows: rows.append(" "), r"item 5: 'text' is ' '"),
    ],
)
def test_a_bad_record_is_named_with_its_part_and_place(folder, part, edit, message):
    change(folder, part, edit)
    with pytest.raises(InputError, match=message):
        read_muse(folder, "news")


def test_forget_texts_among_the_unseen_are_refused(folder):
    members = json.loads((folder / "privleak" / "forget.json").read_text())
    change(folder, "privleak/holdout", lambda rows: rows.append(members[1]))
    with pytest.raises(InputError, match="1 texts of privleak/forget are in privleak/holdout too"):
        read_muse(folder, "news")


@pytest.mark.parametrize(
    ("corpus", "limit", "message"), [("new", None, r"'news'.*corpora are news and books"), ("news", 0, "limit=0")]
)
def test_a_corpus_or_limit_that_is_none_is_refused(folder, corpus, limit, message):
    with pytest.raises(InputError, match=message):
        read_muse(folder, corpus, limit=limit)
