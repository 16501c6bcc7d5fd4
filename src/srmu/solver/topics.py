"""Topics: what the user's texts become before the first step, and what is known of each while it is solved."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from srmu.config.settings import UnlearnConfig
from srmu.errors import InputError
from srmu.inputs.rows import TokenRows
from srmu.objective.direction import TokenDirections, draw_direction
from srmu.objective.importance import ImportanceFitter
from srmu.solver.specificity import token_weights


@dataclass(frozen=True)
class TopicRows:
    """Token rows of one topic.

    Attributes:
        name: Of the topic.
        forget: Forget rows.
        retain: Rows of each retain source; sources have equal shares of a step.
        steering_coefficient: In the config's unit.
        retain_weight: Alpha.
    """

    name: str
    forget: TokenRows
    retain: tuple[TokenRows, ...]
    steering_coefficient: float
    retain_weight: float


@dataclass
class Topic:
    """A topic while it is solved: its vector, its map statistics, and where its rows stand in the store."""

    name: str
    direction: Tensor
    steering_coefficient: float
    retain_weight: float
    fitter: ImportanceFitter
    forget_offset: int
    retain_offsets: tuple[int, ...]
    token_weights: Tensor | None
    """By token id, see `data.specificity`; none = all alike."""
    token_directions: TokenDirections | None
    """In place of `direction`, which is as long."""
    importance: Tensor | None = field(default=None)


def place_topics(
    topics: Sequence[TopicRows], config: UnlearnConfig, hidden_size: int, dtype: torch.dtype, device: torch.device
) -> tuple[list[Topic], TokenRows]:
    """Draw each topic's vector, and lay all rows one after another.

    Args:
        topics: Token rows of each topic.
        config: The run's settings.
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
        direction = draw_direction(
            config.method, config.misdirection, hidden_size, seed=config.seed, topic_index=index
        ).to(device, dtype)
        token_directions = None
        if config.method == "srmu" and config.misdirection == "signs" and config.per_token_signs > 0:
            forget_ids = torch.cat([row.long() for row in topic.forget.token_ids]).unique()
            token_directions = TokenDirections(
                forget_ids, direction, config.per_token_signs, seed=config.seed, topic_index=index
            )
        placed.append(
            Topic(
                name=topic.name,
                direction=direction,
                steering_coefficient=topic.steering_coefficient,
                retain_weight=topic.retain_weight,
                fitter=ImportanceFitter(config.map_scope, config.running_decay),
                forget_offset=offsets[0],
                retain_offsets=tuple(offsets[1:]),
                token_weights=(
                    token_weights(topic.forget, topic.retain) if config.forget_tokens == "specific" else None
                ),
                token_directions=token_directions,
            )
        )
    return placed, TokenRows(tuple(token_ids), tuple(range(len(token_ids))), counted=tuple(counted))
