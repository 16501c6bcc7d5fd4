"""Topics: what the user's texts become, from the run's file to the solver.

A topic is something to forget with what must be kept beside it. Three types describe it, each made from the one before:

- `TopicConfig` (`config.groups`): what the user wrote, sources of texts by name.
- `TopicTexts` (`job.plan`): its documents, read, with the settings that the topic inherits.
- `TopicRows` (here): its rows of tokens, for training and held out.

`TopicState` is no other description of it, but what the solver learns about a topic on the way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from srmu.config.groups import TargetConfig
from srmu.errors import InputError
from srmu.inputs.rows import TokenRows
from srmu.objective.direction import TokenDirections, draw_direction
from srmu.objective.erasure import Erasure
from srmu.objective.importance import ImportanceFitter
from srmu.solver.balance import RetainBalance
from srmu.solver.counterfactual import Counterfactuals
from srmu.solver.specificity import token_weights

NO_ROWS = TokenRows((), ())


@dataclass(frozen=True)
class TopicRows:
    """Token rows of one topic.

    Attributes:
        name: Of the topic.
        forget: Forget rows to train on.
        retain: Rows of each retain source to train on; sources have equal shares of a step.
        steering_coefficient: In the target's unit.
        retain_weight: Alpha.
        forget_heldout: Forget rows that are measured alone.
        retain_heldout: Rows of each retain source that are measured alone.
        sources: Public name of each retain source: a file's name, a hub data set, `self`, `general` or `retain`.
    """

    name: str
    forget: TokenRows
    retain: tuple[TokenRows, ...]
    steering_coefficient: float
    retain_weight: float
    forget_heldout: TokenRows = NO_ROWS
    retain_heldout: tuple[TokenRows, ...] = ()
    sources: tuple[str, ...] = ()


@dataclass
class TopicState:
    """A topic while it is solved: its vector, its map statistics, and where its rows are in the store."""

    name: str
    direction: Tensor
    steering_coefficient: float
    retain_weight: float
    fitter: ImportanceFitter
    forget_offset: int
    retain_offsets: tuple[int, ...]
    token_weights: Tensor | None
    """By token id, see `solver.specificity`; none = all the same."""
    token_directions: TokenDirections | None
    """In place of `direction`, which is as long."""
    importance: Tensor | None = field(default=None)
    erasure: Erasure | None = field(default=None)
    counterfactuals: Counterfactuals | None = field(default=None)
    balance: RetainBalance | None = field(default=None)
    """In place of `retain_weight`."""

    @property
    def current_weight(self) -> float | Tensor:
        """Alpha of the next step."""
        return self.retain_weight if self.balance is None else self.balance.weight

    def see(self, forget_loss: Tensor) -> None:
        """Take in the forget loss of a step."""
        if self.balance is not None:
            self.balance.see(forget_loss)

    def weights_of(self, token_ids: Tensor, like: Tensor) -> Tensor | None:
        """What tokens weigh, in the shape of `token_ids` and the dtype and place of `like`; none = all the same."""
        return None if self.token_weights is None else self.token_weights[token_ids].to(like)


def place_topics(
    topics: Sequence[TopicRows],
    target: TargetConfig,
    seed: int,
    hidden_size: int,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[list[TopicState], TokenRows]:
    """Draw each topic's vector, and lay all rows one after another.

    Args:
        topics: Token rows of each topic.
        target: What forget rows are driven to.
        seed: Of the vectors.
        hidden_size: Width of the residual stream.
        dtype: Of the vectors.
        device: Where they live.

    Raises:
        InputError: If a corpus has no rows.
    """
    token_ids: list[Tensor] = []
    counted: list[Tensor | None] = []
    placed = []
    for index, topic in enumerate(topics):
        if not topic.retain or not all(rows.token_ids for rows in (topic.forget, *topic.retain)):
            raise InputError(f"Topic {topic.name!r} has a corpus without rows. Give it longer texts.")
        offsets = []
        for rows in (topic.forget, *topic.retain):
            offsets.append(len(token_ids))
            token_ids.extend(rows.token_ids)
            # What is kept is kept whole, whatever part of it is an answer.
            counted.extend(rows.counted if rows is topic.forget and rows.counted else [None] * len(rows))
        direction = draw_direction(target.method, target.misdirection, hidden_size, seed=seed, topic_index=index).to(
            device, dtype
        )
        token_directions = None
        if target.method == "srmu" and target.misdirection == "signs" and target.per_token_signs > 0:
            forget_ids = torch.cat([row.long() for row in topic.forget.token_ids]).unique()
            token_directions = TokenDirections(
                forget_ids, direction, target.per_token_signs, seed=seed, topic_index=index
            )
        placed.append(
            TopicState(
                name=topic.name,
                direction=direction,
                steering_coefficient=topic.steering_coefficient,
                retain_weight=topic.retain_weight,
                fitter=ImportanceFitter(target.map_scope, target.running_decay),
                forget_offset=offsets[0],
                retain_offsets=tuple(offsets[1:]),
                token_weights=(
                    token_weights(topic.forget, topic.retain) if target.forget_tokens == "specific" else None
                ),
                token_directions=token_directions,
            )
        )
    return placed, TokenRows(tuple(token_ids), tuple(range(len(token_ids))), counted=tuple(counted))


def begin_balances(topics: Sequence[TopicState], remaining: float, steps: int, device: torch.device) -> None:
    """From now on each topic's retain weight follows its forget loss, unless none is to remain.

    Args:
        topics: They take turns.
        remaining: Share of the first loss; 0 = the weights stay as they are.
        steps: Of all topics together.
        device: Where the losses are.
    """
    for topic in topics if remaining > 0 else ():
        topic.balance = RetainBalance(topic.retain_weight, remaining, steps // len(topics), device)


def balance_states(topics: Sequence[TopicState]) -> dict[str, Tensor]:
    """For a resumable state."""
    return {f"balance.{topic.name}": topic.balance.state for topic in topics if topic.balance is not None}


def load_balances(topics: Sequence[TopicState], tensors: Mapping[str, Tensor], device: torch.device) -> None:
    """What `balance_states` gave."""
    for topic in topics:
        if topic.balance is not None:
            topic.balance.state = tensors[f"balance.{topic.name}"].to(device)
