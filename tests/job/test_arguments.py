"""What a caller in Python may give as texts and settings, and what becomes of it in the config."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from main_job import FORGET, inline
from srmu import DataConfig, OutputConfig, TargetConfig, TopicConfig, TrainingConfig
from srmu.config.presets import PRESETS
from srmu.errors import InputError
from srmu.job.arguments import as_sources, config_from_arguments

TEXTS = ["one", "two words", "Three, in a sentence."]


def config_of(**given):
    with ExitStack() as stack:
        return config_from_arguments("base", {"forget": ["a text"], **given}, None, stack)


def test_every_kind_of_list_gives_the_same_texts():
    datasets, pandas = pytest.importorskip("datasets"), pytest.importorskip("pandas")
    kinds = {
        "list": TEXTS,
        "tuple": tuple(TEXTS),
        "iterator": iter(TEXTS),
        "generator": (text for text in TEXTS),
        "dataset": datasets.Dataset.from_dict({"text": TEXTS, "id": [1, 2, 3]}),
        "streamed": datasets.Dataset.from_dict({"text": TEXTS}).to_iterable_dataset(),
        "column": datasets.Dataset.from_dict({"text": TEXTS})["text"],
        "series": pandas.Series(TEXTS, index=[7, 8, 9]),
        "frame": pandas.DataFrame({"id": [1, 2, 3], "text": TEXTS}),
        "records": [{"text": text} for text in TEXTS],
    }
    found = {name: as_sources(kind, "forget", "text") for name, kind in kinds.items()}
    assert list(found.values()) == [list(inline(TEXTS))] * len(kinds)


def test_a_table_is_read_by_the_field_or_template_that_is_named():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"question": ["Who?"], "answer": ["Ito."]})
    assert as_sources(frame, "forget", "answer") == ["text:Ito."]
    assert as_sources(frame, "forget", "{question} {answer}") == ["text:Who? Ito."]
    with pytest.raises(InputError, match=r"field 'text' is missing; there is 'question', 'answer'"):
        as_sources(frame, "forget", "text")


def test_a_cell_is_a_text_even_where_a_file_has_its_name(tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    (tmp_path / "one").write_text("a file")
    monkeypatch.chdir(tmp_path)
    assert as_sources(pandas.Series(["one"]), "forget", "text") == ["text:one"]
    assert as_sources(["one"], "forget", "text") == ["one"]


def test_texts_and_paths_mix_in_their_order(tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("a note")
    mixed = ["vault", file, str(file), "hub:someone/data", "self"]
    assert as_sources(mixed, "retain", "text") == ["text:vault", str(file), str(file), "hub:someone/data", "self"]
    assert as_sources("vault", "retain", "text") == ["text:vault"]
    assert as_sources(Path("missing.txt"), "retain", "text") == ["missing.txt"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([1], "Forget texts given as list, item 1: found int, expected text"),
        (["fine", None], "item 2: found NoneType"),
        ({"train": ["x"]}, "Forget texts given as dict, item 1: field 'text' is missing"),
        ([{"text": 3}], "item 1"),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(texts, expected):
    with pytest.raises(InputError, match=expected):
        as_sources(texts, "forget", "text")


def test_single_settings_win_over_groups_and_groups_over_the_preset():
    given = {"preset": "rmu", "target": TargetConfig(layer=5), "training": TrainingConfig(steps=7, seed=3), "steps": 9}
    config = config_of(**given)
    assert (config.training.steps, config.training.seed, config.target.layer) == (9, 3, 5)
    assert config.target.method == "srmu" != PRESETS["rmu"]["method"]
    assert config_of(preset="rmu").target.method == "rmu"


def test_texts_of_groups_and_topics_follow_the_same_rule(tmp_path):
    topics = (TopicConfig(name="a", forget=("vault",)), TopicConfig(name="b", forget=(str(tmp_path),)))
    with ExitStack() as stack:
        config = config_from_arguments("base", {"topics": topics}, None, stack)
        other = config_from_arguments("base", {"data": DataConfig(forget=tuple(FORGET))}, None, stack)
    assert [topic.forget for topic in config.data.topics] == [("text:vault",), (str(tmp_path),)]
    assert other.data.forget == inline(FORGET)


def test_paths_of_the_output_and_of_questions_become_text(tmp_path):
    config = config_of(output=OutputConfig(save_every=2), out=tmp_path, questions={"forget": tmp_path / "q.jsonl"})
    assert (config.output.out, config.output.save_every) == (str(tmp_path), 2)
    assert config.data.questions == {"forget": str(tmp_path / "q.jsonl")}


def test_an_old_name_and_an_unknown_one_are_told_together():
    with pytest.raises(InputError, match=r"2 problems: .*'row_tokens' that was renamed to 'max_length'.*'stepz'"):
        config_of(row_tokens=3, stepz=2)
