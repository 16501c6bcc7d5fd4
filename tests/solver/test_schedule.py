"""The order of rows: topics alternate, corpora are read in whole rounds, and a seed means the same everywhere."""

import hashlib
import json
from dataclasses import astuple

import pytest

from srmu.solver.schedule import Step, build_schedule


def schedule(**changes: object) -> list[Step]:
    values = {"steps": 12, "forget_batch_size": 3, "retain_batch_size": 4, "seed": 0, **changes}
    return build_schedule([5, 7], [[4, 9], [3]], **values)


def test_schedule_has_the_stored_digest() -> None:
    content = json.dumps([astuple(step) for step in schedule(seed=7)])
    assert (
        hashlib.sha256(content.encode()).hexdigest()
        == "e8e74d892b98cfdd7c45dd99f14ecf8451964ed46e1e2735408049ab78356058"
    )


def test_topics_alternate_and_sources_have_equal_shares() -> None:
    steps = schedule()
    assert [step.topic for step in steps] == [0, 1] * 6
    for step in steps[::2]:
        assert [source for source, _ in step.retain] == [0, 1, 0, 1]


@pytest.mark.parametrize(("topic", "count"), [(0, 5), (1, 7)])
def test_forget_rows_are_read_in_shuffled_rounds(topic: int, count: int) -> None:
    read = [row for step in schedule(steps=60) if step.topic == topic for row in step.forget]
    rounds = [read[start : start + count] for start in range(0, len(read) - count + 1, count)]
    assert len(rounds) > 10
    assert all(sorted(part) == list(range(count)) for part in rounds)
    assert len({tuple(part) for part in rounds}) > 5


def test_fewer_retain_rows_than_a_step_reads_are_read_again() -> None:
    step = schedule(steps=2)[1]
    assert len(step.retain) == 4
    assert {position for _, position in step.retain} == {0, 1, 2}


def test_more_steps_begin_like_fewer_and_another_seed_differs() -> None:
    assert schedule(steps=20)[:12] == schedule()
    assert schedule(seed=1) != schedule()


def test_turns_of_sources_go_on_from_step_to_step() -> None:
    steps = build_schedule([4], [[4, 4]], steps=4, forget_batch_size=1, retain_batch_size=3, seed=0)
    assert [source for step in steps for source, _ in step.retain] == [0, 1] * 6
