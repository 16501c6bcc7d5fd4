"""The plan of a run with other settings: what differs between trials."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from srmu.config.presets import PRESETS
from srmu.config.settings import flatten, make_config
from srmu.errors import InputError
from srmu.job.matrices import choose_matrices, resolved
from srmu.job.plan import Plan
from srmu.solver.topics import TopicRows

# What decides which rows there are, and so is the same for all trials on one set of texts.
INPUT_SETTINGS = (
    "model", "revision", "device", "dtype", "trust_remote_code", "forget", "retain", "topics", "questions",
    "text_field", "chat", "max_length", "long_documents", "num_self_written", "eval_fraction",
)  # fmt: skip


def replan(plan: Plan, settings: Mapping[str, Any]) -> Plan:
    """The same model and texts with other settings of method, matrices and training.

    A topic with a steering coefficient or retain weight of its own keeps it. Another `layer` brings its own
    trained layers and those of its repair.

    Args:
        plan: Whose inputs are kept.
        settings: Fields of `UnlearnConfig` over the plan's; a `preset` brings its values.

    Raises:
        InputError: If a setting is unknown, wrong, or one that decides which rows there are.
    """
    for name in settings:
        if name in INPUT_SETTINGS:
            raise InputError(
                f"{name!r} was to differ between trials, but it decides which texts there are. Give it once, for all."
            )
    old = plan.config
    given = {**PRESETS.get(settings.get("preset", ""), {}), **settings}
    if given.get("layer", old.target.layer) != old.target.layer:
        given = {"trained_layers": (), "repair_layer": "auto", **given}
    config = make_config(flatten(old) | given)
    chosen = choose_matrices(plan.checkpoint, config, plan.num_layers)
    inherited = ("steering_coefficient", "retain_weight")
    topics = [
        dataclasses.replace(
            topic,
            **{name: config.get(name) for name in inherited if getattr(topic, name) == old.get(name)},
        )
        for topic in plan.topics
    ]
    return dataclasses.replace(
        plan,
        config=config.replace(**resolved(chosen)),
        layer_id=chosen.layer_id,
        repair_layer=chosen.repair_layer,
        parameter_names=chosen.parameter_names,
        num_trained=chosen.num_trained,
        topics=tuple(topics),
    )


def with_weights(topics: Sequence[TopicRows], plan: Plan) -> list[TopicRows]:
    """The same rows with the steering coefficient and the retain weight that the plan gives each topic."""
    return [
        dataclasses.replace(rows, steering_coefficient=topic.steering_coefficient, retain_weight=topic.retain_weight)
        for rows, topic in zip(topics, plan.topics, strict=True)
    ]
