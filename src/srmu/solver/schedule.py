"""Which rows each step reads: a function of the seed and of the numbers of rows alone, the same on any machine."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Step:
    """One optimizer step.

    Attributes:
        topic: Index of the topic.
        forget: Positions in the topic's forget rows.
        retain: (source, position) of each retain row; sources take turns, so that each has an equal share.
    """

    topic: int
    forget: tuple[int, ...]
    retain: tuple[tuple[int, int], ...]


def build_schedule(
    num_forget: Sequence[int],
    num_retain: Sequence[Sequence[int]],
    *,
    steps: int,
    forget_batch_size: int,
    retain_batch_size: int,
    seed: int,
) -> list[Step]:
    """Draw the rows of every step: topics alternate, each corpus is read in shuffled rounds that never run dry.

    Args:
        num_forget: Forget rows of each topic.
        num_retain: Rows of each retain source of each topic.
        steps: Optimizer steps.
        forget_batch_size: Forget rows per step.
        retain_batch_size: Retain rows per step.
        seed: Of the shuffles.
    """
    forget_orders = [_rounds(count, seed, topic, 0) for topic, count in enumerate(num_forget)]
    retain_orders = [
        [_rounds(count, seed, topic, source + 1) for source, count in enumerate(counts)]
        for topic, counts in enumerate(num_retain)
    ]
    turns = [0] * len(num_forget)
    schedule = []
    for index in range(steps):
        topic = index % len(num_forget)
        retain = []
        for _ in range(retain_batch_size):
            source = turns[topic] % len(retain_orders[topic])
            turns[topic] += 1
            retain.append((source, next(retain_orders[topic][source])))
        forget = tuple(next(forget_orders[topic]) for _ in range(forget_batch_size))
        schedule.append(Step(topic=topic, forget=forget, retain=tuple(retain)))
    return schedule


def _rounds(count: int, seed: int, topic: int, stream: int) -> Iterator[int]:
    """Positions 0..count-1 in a new random order each round, for ever."""
    generator = np.random.Generator(np.random.PCG64([seed, topic, stream]))
    while True:
        yield from generator.permutation(count).tolist()
