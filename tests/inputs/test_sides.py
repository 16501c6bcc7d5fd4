"""Forget and retain texts that are the same."""

import warnings

import pytest

from srmu.errors import InputError
from srmu.inputs.corpora import corpus_from_strings
from srmu.inputs.sides import check_sides

FORGET = corpus_from_strings(["the river", "the stone", "the cloud", "the market"], "forget")


def retain(*texts):
    return [corpus_from_strings([text], "retain") for text in texts]


def test_texts_that_are_apart_pass_in_silence():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_sides(FORGET, retain("the bridge", "the river runs"))
        check_sides(FORGET, [])


def test_single_texts_on_both_sides_are_counted_in_a_warning():
    with pytest.warns(UserWarning, match="2 of the 4 forget documents .* are also in the retain texts"):
        check_sides(FORGET, retain("The  River", "the stone", "the bridge"))


def test_texts_that_are_mostly_the_same_are_refused():
    with pytest.raises(InputError, match=r"3 of the 4 forget documents .* asked to forget and to keep the same"):
        check_sides(FORGET, retain("the river", "the stone", "the cloud", "the bridge"))
