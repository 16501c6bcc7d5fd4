"""A run's stages, each as a plan of its own: the target's, and the repair's above it."""

from collections.abc import Sequence
from dataclasses import replace

from srmu.config.settings import RETAIN_WEIGHT_NEAR
from srmu.job.plan import Plan
from srmu.solver.counterfactual import can_exchange
from srmu.solver.topics import TopicRows


def first_stage(plan: Plan) -> Plan:
    """Without the repair."""
    names = {layer: names for layer, names in plan.parameter_names.items() if layer <= plan.layer_id}
    return replace(plan, parameter_names=names, repair_layer=None)


def repair_stage(plan: Plan) -> Plan:
    """The repair alone: the layers above the tapped one, towards what the base makes of texts about something else."""
    assert plan.repair_layer is not None
    names = {layer: names for layer, names in plan.parameter_names.items() if layer > plan.layer_id}
    config = plan.config.replace(
        method="counterfactual", layer=plan.repair_layer, trained_layers=tuple(names),
        forget_tokens="specific", map_scope="dynamic", per_token_signs=0.0, remaining_loss=0.0, change_scale=1.0,
        repair=False, repair_layer="auto",
    )  # fmt: skip
    return replace(plan, config=config, layer_id=plan.repair_layer, parameter_names=names, repair_layer=None)


def stages(plan: Plan) -> list[Plan]:
    """One plan for each stage."""
    return [first_stage(plan)] if plan.repair_layer is None else [first_stage(plan), repair_stage(plan)]


def rows_of_repair(topics: Sequence[TopicRows]) -> list[TopicRows]:
    """The same rows with the retain weight that suits a target among them."""
    return [replace(topic, retain_weight=RETAIN_WEIGHT_NEAR["counterfactual"]) for topic in topics]


def can_repair(plan: Plan, topics: Sequence[TopicRows]) -> bool:
    """Whether there is a repair, and texts of which it can say how they read about something else."""
    return plan.repair_layer is not None and all(can_exchange(topic.forget, topic.retain) for topic in topics)
