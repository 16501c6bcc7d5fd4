"""The comparison with other implementations, as far as it goes without their checkouts."""

from pathlib import Path

import parity_implementations
import parity_muse
import pytest

from srmu.evaluation.benchmarks.muse_data import PARTS, read_muse
from srmu.evaluation.benchmarks.tofu_data import read_tofu

SLICE = Path(__file__).parents[1] / "data" / "tofu"


def test_a_row_has_the_largest_difference_of_an_item_and_the_means():
    found = parity_implementations.row("x", "y", [1.0, 2.0, 3.0], [1.0, 2.5, 2.5])
    assert (found.ours, found.theirs, found.items, found.largest_difference) == (2, 2, 3, 0.5)
    with pytest.raises(AssertionError):
        parity_implementations.row("x", "y", [1.0, 2.0], [1.0])


def test_files_made_of_tofu_are_read_as_muses(tmp_path):
    data = read_muse(parity_muse.muse_of_tofu(read_tofu(SLICE, "forget01"), tmp_path), "news")
    assert len(data.sha256) == len(PARTS)
    assert [len(part) for part in (data.members, data.holdout, data.forget.asked, data.retain.asked)] == [4] * 4
    assert data.verbatim.expected[0].startswith(" ")


def test_a_folder_that_is_no_checkout_is_named(tmp_path):
    with pytest.raises(SystemExit, match="no checkout of open-unlearning"):
        parity_implementations.OpenUnlearning(tmp_path, None, None, None)
    with pytest.raises(SystemExit, match="no checkout of muse_bench"):
        parity_muse.authors_rows(tmp_path, None, None, None)
