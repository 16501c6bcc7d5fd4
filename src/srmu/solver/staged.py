"""A run in stages: the target's own and, above it, one that repairs what the model then says.

The first stage drives forget texts to where no text leads (RMU, SRMU). The layers above have never seen that and
answer with noise. The second stage trains them alone, behind the matrices that the first has left, towards what the
base's layers make of the same texts about something else (`objective/counterfactual.py`). What the first has taken is
not there any more, so that this stage brings back language and not the answer.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from srmu.errors import InputError
from srmu.inputs.rows import TokenRows
from srmu.solver.gradient import GradientSolver

MakeStage = Callable[[Mapping[str, Tensor]], GradientSolver]
"""Makes the solver of a stage from the matrices, by name, that the stages before it have trained."""


class StagedSolver:
    """Solvers one after another, each of layers above those of the one before it.

    Args:
        makers: One for each stage; the first is made at once, the others when it is their turn.
    """

    def __init__(self, makers: Sequence[MakeStage]):
        self._makers = makers
        self.stages = [makers[0]({})]

    @property
    def stage(self) -> GradientSolver:
        """The one that has begun last."""
        return self.stages[-1]

    @property
    def num_stages(self) -> int:
        """How many there will be."""
        return len(self._makers)

    @property
    def done(self) -> bool:
        """Whether all steps of all stages have been taken."""
        return len(self.stages) == self.num_stages and self.stage.done

    @property
    def next_step(self) -> int:
        """Steps done, over all stages."""
        return sum(stage.next_step for stage in self.stages)

    @property
    def total_steps(self) -> int | None:
        """Steps of the stages so far; none while it is not known."""
        return None if self.stage.length.total is None else self._steps_before + self.stage.length.total

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> bool:
        """Begin the next stage, if there is none whose turn it is; see `GradientSolver.prepare`."""
        if self.stage.done and not self.done:
            self._begin()
        return self.stage.prepare(progress)

    def run(self, on_metrics: Callable[[list[dict[str, Any]]], None], after_step: Callable[[int], None]) -> None:
        """Take the remaining steps of the stage whose turn it is; they count from the first stage on.

        Args and errors: see `GradientSolver.run`.
        """
        before = self._steps_before
        self.stage.run(self._counted(on_metrics), lambda done: after_step(before + done))

    def flush(self, on_metrics: Callable[[list[dict[str, Any]]], None]) -> None:
        """See `GradientSolver.flush`."""
        self.stage.flush(self._counted(on_metrics))

    def moved_by_group(self, groups: Mapping[str, TokenRows]) -> dict[str, float]:
        """`GradientSolver.moved` of each group that has rows, behind the last stage."""
        return {name: self.stage.moved(rows) for name, rows in groups.items() if len(rows)}

    @property
    def result(self) -> dict[tuple[int, str], Tensor]:
        """The trained matrices of all stages, see `GradientSolver.result`."""
        return dict(chain.from_iterable(stage.result.items() for stage in self.stages))

    @property
    def learning_rates(self) -> dict[tuple[int, str], float]:
        """Of the trained matrices of all stages."""
        return dict(chain.from_iterable(stage.learning_rates.items() for stage in self.stages))

    def trained_parameters(self) -> dict[str, Tensor]:
        """See `GradientSolver.trained_parameters`."""
        return dict(chain.from_iterable(stage.trained_parameters().items() for stage in self.stages))

    def state(self) -> dict[str, Tensor]:
        """Everything that changes from step to step, as tensors, for a resumable state; `flush` comes before it."""
        tensors = {"next_step": torch.tensor(self.next_step)}
        for number, stage in enumerate(self.stages):
            tensors |= {f"{number}.{name}": tensor for name, tensor in stage.state().items()}
        return tensors

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `state` gave.

        Raises:
            InputError: If the state is another run's.
        """
        begun = {name.partition(".")[0] for name in tensors.keys() - {"next_step"}}
        if begun not in ({str(number) for number in range(size)} for size in range(1, self.num_stages + 1)):
            raise InputError("The saved state does not belong to this run: it has other stages. Begin the run anew.")
        for number in range(len(begun)):
            if number == len(self.stages):
                self._begin()
            prefix = f"{number}."
            own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
            self.stage.load_state(own)

    def _begin(self) -> None:
        # One stage's frozen activations at a time.
        self.stage.store.release()
        dtype = self.stage.compute_dtype
        below = {name: matrix.to(dtype) for name, matrix in self.trained_parameters().items()}
        self.stages.append(self._makers[len(self.stages)](below))

    @property
    def _steps_before(self) -> int:
        return sum(stage.next_step for stage in self.stages[:-1])

    def _counted(self, on_metrics: Callable[[list[dict[str, Any]]], None]) -> Callable[[list[dict[str, Any]]], None]:
        before = self._steps_before
        return lambda records: on_metrics([{**record, "step": record["step"] + before} for record in records])
