"""Near-duplicate documents: found where they are, with the exact similarity, and nowhere else."""

import sys

import pytest

from srmu.errors import InputError
from srmu.inputs.near_duplicates import near_duplicates

WORDS = [f"word{number}" for number in range(40)]
TEXT = " ".join(WORDS)
OTHER = " ".join(f"other{number}" for number in range(40))


def test_an_equal_document_has_similarity_1_apart_from_case_and_punctuation():
    (found,) = near_duplicates([OTHER, TEXT], ["something else entirely", TEXT.upper().replace(" ", ", ")])
    assert (found.forget, found.retain, found.similarity) == (1, 1, 1.0)


def test_the_similarity_is_that_of_three_successive_words_counted_by_hand():
    # One word of 40 replaced touches 3 of 38 shingles: 35 shared of 41 in all.
    changed = " ".join([*WORDS[:20], "changed", *WORDS[21:]])
    (found,) = near_duplicates([TEXT], [OTHER, changed])
    assert (found.retain, found.similarity) == (1, 35 / 41)


def test_a_document_below_the_threshold_is_none():
    half = " ".join(WORDS[:20] + OTHER.split()[:20])
    assert near_duplicates([TEXT], [half, OTHER]) == ()


def test_the_nearest_of_several_is_named():
    near = " ".join([*WORDS[:39], "changed"])
    (found,) = near_duplicates([TEXT], [near, TEXT, TEXT])
    assert (found.retain, found.similarity) == (1, 1.0)


def test_documents_of_one_or_two_words_are_compared_whole():
    (found,) = near_duplicates(["Silver bridge"], ["silver", "bridge", "silver bridge"])
    assert found.retain == 2


def test_documents_without_words_match_nothing():
    assert near_duplicates(["...", TEXT], ["...", "!"]) == ()


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(InputError, match=r"datasketch.*srmu\[eval\]"):
        near_duplicates([TEXT], [TEXT])
