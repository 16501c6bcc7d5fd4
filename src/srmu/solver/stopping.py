"""How many steps a run takes: as many as were given, or until the forget loss has fallen and falls no longer.

The forget loss hardly moves at first, falls once the matrices have found what separates forget from retain rows, and
levels off. When it falls depends on the model, the texts and the retain weight (docs/log): a run that ends before
has forgotten nothing, and one that goes on for a while gives back what the fall cost the retain side.
"""

import math
from collections.abc import Iterable
from statistics import fmean

from srmu.config.groups import TrainingConfig

MOST_STEPS = 1600
"""A run whose loss does not level off ends here."""
LIKELY_STEPS = 320
"""What is planned with before it is known: what to keep in memory, what a run will cost."""
BALANCED_STEPS = 300
"""Of a run whose retain weight follows its forget loss: that says when it has fallen."""
SETTLING = 0.3
"""Share of all steps, the last ones, after the loss has levelled off."""
WINDOW = 40
"""Steps whose mean loss is compared with that of the steps before them."""
LEAST_TURNS = 10
"""Of several topics, which take turns, each has at least so many steps in a window."""
LEAST_WINDOWS = 3
FALLEN = 0.6
"""Of the first loss: a loss that has not yet fallen so far may hardly move for long and fall then."""
LEVEL = 0.96
"""Of the window before: a loss that is still higher than this falls no longer."""


def given_steps(training: TrainingConfig) -> int | None:
    """Steps of a run that are known before it begins; none = they are found by its losses."""
    if training.steps != "auto":
        return training.steps
    return BALANCED_STEPS if training.remaining_loss > 0 else None


class RunLength:
    """How many steps a run takes, decided from its losses alone, so that a resumed run decides the same.

    Args:
        steps: As given; none = by the losses.
        num_topics: Topics take turns; a window has as many steps of each, so that it grows with their number, as far as
            the longest run leaves room for.
    """

    def __init__(self, steps: int | None, num_topics: int):
        self.total = steps
        """Steps of the run; none while it is not known."""
        self.levelled: int | None = None
        """Steps done when the loss was found to fall no longer."""
        self.is_given = steps is not None
        self.losses: list[float] = []
        self._num_topics = num_topics

    @property
    def planned(self) -> int:
        """Steps to draw rows for."""
        return MOST_STEPS if self.total is None else self.total

    @property
    def likely(self) -> int:
        """Steps to plan memory with; the same in a resumed run, which must keep the same rows."""
        return self.planned if self.is_given else LIKELY_STEPS

    @property
    def never_fell(self) -> bool:
        """Whether a run that was to end by its losses ended without them."""
        return not self.is_given and self.total is not None and self.levelled is None

    def see(self, losses: Iterable[float]) -> None:
        """Take in the forget losses of the next steps, in order."""
        if self.is_given:
            return
        for loss in losses:
            self.losses.append(loss)
            if self.total is None:
                self._decide()

    def first_averaged(self, share: float) -> int:
        """Steps before those whose matrices are averaged, of which there are this share; all, while it is not known."""
        if self.total is None:
            return MOST_STEPS
        return max(self.levelled or 0, self.total - round(share * self.total))

    def share_of_rate(self, done: int) -> float:
        """Of the full learning rate at the next step, where it falls in a line to none.

        It falls from the first step or, where the end is found on the way, from where the loss levelled off.
        """
        if self.total is None:
            return 1.0
        start = self.levelled or 0
        return (self.total - done) / (self.total - start)

    def _decide(self) -> None:
        turns = max(math.ceil(WINDOW / self._num_topics), LEAST_TURNS)
        room = round(MOST_STEPS * (1 - SETTLING)) // LEAST_WINDOWS // self._num_topics
        window, done = max(1, min(turns, room)) * self._num_topics, len(self.losses)
        if done % window == 0 and done >= LEAST_WINDOWS * window:
            last, before = fmean(self.losses[-window:]), fmean(self.losses[-2 * window : -window])
            if last < FALLEN * fmean(self.losses[: self._num_topics]) and last > LEVEL * before:
                self.levelled = done
                self.total = min(MOST_STEPS, round(done / (1 - SETTLING)))
        if self.total is None and done == round(MOST_STEPS * (1 - SETTLING)):
            self.total = MOST_STEPS
