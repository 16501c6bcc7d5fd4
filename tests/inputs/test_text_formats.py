"""Every format of texts in docs/how-to/formats.md is read, or refused, as the page says."""

from pathlib import Path

import pytest

from inputs.broken_text_formats import REFUSED
from inputs.text_formats import READ, table, text_outcome
from srmu.errors import InputError
from srmu.inputs.corpora import read_corpus

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "formats.md"


def name_of(each):
    return each.brought


@pytest.mark.parametrize("each", READ, ids=name_of)
def test_a_format_is_read_as_the_page_says(each, tmp_path):
    (tmp_path / each.file).write_bytes(each.content)
    corpus = read_corpus([str(tmp_path / each.file)], role="forget")
    assert corpus.documents == each.documents
    assert corpus.read_as == each.said
    assert (each.noted in " ".join(corpus.notes)) if each.noted else not corpus.notes
    first = corpus.documents[0]
    if first.messages is not None:
        assert first.messages[-1].content == each.counted
    elif first.answer_start is not None:
        assert first.text[first.answer_start :] == each.counted


@pytest.mark.parametrize("each", REFUSED, ids=name_of)
def test_a_format_is_refused_as_the_page_says(each, tmp_path):
    (tmp_path / each.file).write_bytes(each.content)
    with pytest.raises(InputError) as caught:
        read_corpus([str(tmp_path / each.file)], role="forget")
    message = str(caught.value)
    assert each.said in message
    assert "\n" not in message
    assert len(message) < 600
    assert message.startswith("Forget texts '")


def test_formats_have_names_of_their_own_and_are_many():
    assert len({each.brought for each in (*READ, *REFUSED)}) == len((*READ, *REFUSED))
    assert len((*READ, *REFUSED)) >= 40


def test_the_page_has_the_table_of_the_formats():
    page = PAGE.read_text(encoding="utf-8")
    for part in (READ, REFUSED):
        assert table(part, text_outcome) in page, f"put this in {PAGE.name}:\n{table(part, text_outcome)}"
