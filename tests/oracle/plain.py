"""What the engine is judged by, plainly: two whole models, forward hooks, masked means, AdamW.

It is slow and holds everything twice on purpose; nothing in it comes from the package.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import AutoModelForCausalLM, PreTrainedModel

from oracle import formulas

LAYER_LISTS = ("model.layers", "model.language_model.layers", "gpt_neox.layers", "transformer.h")


class _Float64Kept(TorchFunctionMode):
    """Float64 tensors refuse to become float32, whoever asks."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        first = args[0] if args else kwargs.get("input")
        if isinstance(first, Tensor):
            if func is Tensor.float and (first.dtype == torch.float64 or not first.is_floating_point()):
                # Whole numbers too: rotary embeddings multiply `position_ids.float()` with frequencies.
                return first.double()
            if first.dtype == torch.float64:
                args = tuple(torch.float64 if argument is torch.float32 else argument for argument in args)
                kwargs = {key: torch.float64 if value is torch.float32 else value for key, value in kwargs.items()}
        return func(*args, **kwargs)


@contextmanager
def float64_exact() -> Iterator[None]:
    """Keep float64 in float64 where Transformers casts to float32: norms, softmax, router, rotary embeddings.

    Models may be built inside or outside, with the same bits. Inside, float64 cannot be turned into float32.
    """
    with _Float64Kept():
        yield


@dataclass(frozen=True)
class PlainBatch:
    """Padded rows of one side.

    Attributes:
        token_ids: `[batch, seq]` int64.
        attention_mask: `[batch, seq]` bool, true where a token is real.
        token_mask: `[batch, seq]` bool, true where a token counts; none given = made by `sink_mask`.
        token_weights: `[batch, seq]`, what each counted token weighs in the mean; none given = 1 each.
        vectors: `[batch, seq, hidden]`, V of each token; none given = the objective's for all.
        exchanges: The same rows with other words in the place of some, as often as there are exchanges.
    """

    token_ids: Tensor
    attention_mask: Tensor
    token_mask: Tensor | None = None
    token_weights: Tensor | None = None
    vectors: Tensor | None = None
    exchanges: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class PlainObjective:
    """What `docs/background/method.md` needs to define the loss.

    Attributes:
        method: `rmu`, `adaptive-rmu`, `srmu`, `erasure` or `counterfactual`.
        vector: u (length 1) or V, `[hidden]`.
        steering_coefficient: Times the mean frozen norm (`relative`), or raw c or c_map (`absolute`). Adaptive RMU:
            always times the norm of each token.
        coefficient_unit: See there.
        reach: Most that a relative target may be long; none given = no bound.
        retain_weight: Alpha.
        map_name: Importance map of srmu.
        statistic: Of the mean activations.
        map_epsilon: Of ratio and product.
        difference_lambda: Of difference.
        fixed_importance: I_norm to use in place of each batch's own, `[hidden]`.
        erasure: Of erasure: the centroid, `[hidden]`, and the axes, `[axes, hidden]`, if there are any.
        overshoot: Of counterfactual.
        sink_norm_ratio: For batches without a token mask; None = every real token counts.
    """

    method: Literal["rmu", "adaptive-rmu", "srmu", "erasure", "counterfactual"]
    vector: np.ndarray
    steering_coefficient: float
    coefficient_unit: Literal["relative", "absolute"] = "relative"
    reach: float | None = None
    retain_weight: float = 1.0
    map_name: formulas.MapName = "ratio"
    statistic: formulas.Statistic = "abs"
    map_epsilon: float = 1e-6
    difference_lambda: float = 1.0
    fixed_importance: np.ndarray | None = None
    sink_norm_ratio: float | None = 4.0
    erasure: tuple[np.ndarray, np.ndarray | None] | None = None
    overshoot: float = 0.0


@dataclass(frozen=True)
class PlainLosses:
    """One step's losses, before its update."""

    total: float
    forget: float
    retain: float


@dataclass(frozen=True)
class PlainResult:
    """What a run gave.

    Attributes:
        losses: One entry a step.
        gradients: Of the first step, by parameter name.
        parameters: After the last step, by parameter name.
    """

    losses: list[PlainLosses]
    gradients: dict[str, Tensor]
    parameters: dict[str, Tensor]


def load_plain(model: str | Path | PreTrainedModel, dtype: torch.dtype = torch.float64) -> PreTrainedModel:
    """A whole model of its own, in eval mode, with eager attention and experts; a model given is copied."""
    if isinstance(model, PreTrainedModel):
        loaded = copy.deepcopy(model)
        loaded.to(dtype)  # type: ignore[arg-type]  # its decorator hides the signature
        loaded.set_attn_implementation("eager")
        if loaded.config._experts_implementation is not None:
            loaded.set_experts_implementation("eager")
    else:
        loaded = AutoModelForCausalLM.from_pretrained(
            model, dtype=dtype, attn_implementation="eager", experts_implementation="eager"
        )
    return loaded.eval().requires_grad_(False)


def hidden_after(model: PreTrainedModel, batch: PlainBatch, layer_id: int) -> Tensor:
    """The residual stream after a decoder layer of the whole model, `[batch, seq, hidden]`, by a hook."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, arguments: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    handle = _decoder_layers(model)[layer_id].register_forward_hook(keep)
    try:
        model(input_ids=batch.token_ids, attention_mask=batch.attention_mask.long(), use_cache=False)
    finally:
        handle.remove()
    assert len(seen) == 1, f"layer {layer_id} ran {len(seen)} times"
    return seen[0]


def plain_losses(
    frozen: PreTrainedModel,
    updated: PreTrainedModel,
    forget: PlainBatch,
    retain: PlainBatch,
    objective: PlainObjective,
    layer_id: int,
) -> tuple[Tensor, Tensor]:
    """The forget and the retain loss of one step, scalars with gradients to the updated model."""
    with torch.no_grad():
        forget_frozen = hidden_after(frozen, forget, layer_id)
        retain_frozen = hidden_after(frozen, retain, layer_id)
    forget_mask = _counted(forget, forget_frozen, objective)
    retain_mask = _counted(retain, retain_frozen, objective)
    if objective.erasure is not None:
        assert forget.token_weights is not None
        specific = (forget.token_weights > 0.9).numpy()
        target = torch.from_numpy(formulas.erasure_target(_numpy(forget_frozen), specific, *objective.erasure))
    elif objective.method == "counterfactual":
        with torch.no_grad():
            read = [hidden_after(frozen, replace(forget, token_ids=ids), layer_id) for ids in forget.exchanges]
        target = torch.from_numpy(
            formulas.counterfactual_target(_numpy(forget_frozen), [_numpy(each) for each in read], objective.overshoot)
        )
    else:
        target = _target(forget_frozen, forget_mask, retain_frozen, retain_mask, objective)
    if forget.vectors is not None:
        # As long as the one target, feature by feature, with signs of its own for each token.
        target = target / torch.from_numpy(objective.vector) * forget.vectors
    forget_updated = hidden_after(updated, forget, layer_id)
    retain_updated = hidden_after(updated, retain, layer_id)
    return (
        _weighted_mean(((forget_updated - target) ** 2).mean(dim=-1), forget_mask, forget.token_weights),
        ((retain_updated - retain_frozen)[retain_mask] ** 2).mean(),
    )


def plain_run(
    model: str | Path | PreTrainedModel,
    forget_batches: Sequence[PlainBatch],
    retain_batches: Sequence[PlainBatch],
    objective: PlainObjective | Sequence[PlainObjective],
    layer_id: int,
    parameter_names: Sequence[str],
    learning_rate: float,
    steps: int,
    dtype: torch.dtype = torch.float64,
    before: Mapping[str, Tensor] | None = None,
) -> PlainResult:
    """Unlearn with two whole models.

    Args:
        model: Checkpoint directory, or a model, which is copied.
        forget_batches: Step i reads the one at i modulo their number.
        retain_batches: Likewise.
        objective: The loss; of several, step i takes the one at i modulo their number.
        layer_id: Tapped layer, from 0.
        parameter_names: Whole-model names of the trained parameters, as in `named_parameters`.
        learning_rate: Of AdamW without weight decay.
        steps: Number of updates.
        dtype: Of both models; in float64 nothing is computed in float32.
        before: By whole-model name, what parameters of the updated model are already.
    """
    objectives = [objective] if isinstance(objective, PlainObjective) else objective
    frozen, updated = load_plain(model, dtype), load_plain(model, dtype)
    updated.load_state_dict(dict(before or {}), strict=False)
    trained = {name: updated.get_parameter(name).requires_grad_(True) for name in parameter_names}
    optimizer = torch.optim.AdamW(trained.values(), lr=learning_rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    losses: list[PlainLosses] = []
    gradients: dict[str, Tensor] = {}
    with float64_exact():
        for step in range(steps):
            forget = forget_batches[step % len(forget_batches)]
            retain = retain_batches[step % len(retain_batches)]
            current = objectives[step % len(objectives)]
            forget_loss, retain_loss = plain_losses(frozen, updated, forget, retain, current, layer_id)
            total = forget_loss + current.retain_weight * retain_loss
            optimizer.zero_grad()
            total.backward()
            if step == 0:
                gradients = {name: p.grad.clone() for name, p in trained.items() if p.grad is not None}
            optimizer.step()
            losses.append(PlainLosses(total.item(), forget_loss.item(), retain_loss.item()))
    return PlainResult(losses, gradients, {name: parameter.detach().clone() for name, parameter in trained.items()})


def _decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    for path in LAYER_LISTS:
        try:
            layers = model.get_submodule(path)
        except AttributeError:
            continue
        assert isinstance(layers, nn.ModuleList)
        return layers
    raise ValueError(f"{type(model).__name__} has its decoder layers at none of {LAYER_LISTS}")


def _counted(batch: PlainBatch, hidden_frozen: Tensor, objective: PlainObjective) -> Tensor:
    if batch.token_mask is not None:
        return batch.token_mask
    mask = formulas.sink_mask(_numpy(hidden_frozen), batch.attention_mask.bool().numpy(), objective.sink_norm_ratio)
    return torch.from_numpy(mask)


def _weighted_mean(values: Tensor, mask: Tensor, weights: Tensor | None) -> Tensor:
    counted = torch.ones_like(values) if weights is None else weights.to(values.dtype)
    return (values * counted)[mask].sum() / counted[mask].sum()


def _target(
    forget_frozen: Tensor,
    forget_mask: Tensor,
    retain_frozen: Tensor,
    retain_mask: Tensor,
    objective: PlainObjective,
) -> Tensor:
    """The target of this step, `[hidden]` or `[batch, seq, hidden]`, by the NumPy formulas."""
    hidden, mask, vector = _numpy(forget_frozen), forget_mask.numpy(), objective.vector.astype(np.float64)
    if objective.method == "adaptive-rmu":
        target = formulas.adaptive_rmu_target(vector, hidden, objective.steering_coefficient)
        return torch.from_numpy(target).to(forget_frozen.dtype)
    weights = np.ones_like(vector)
    if objective.method == "srmu":
        weights = _importance(hidden, mask, _numpy(retain_frozen), retain_mask.numpy(), objective)
    coefficient = objective.steering_coefficient
    if objective.coefficient_unit == "relative":
        norm = formulas.mean_norm(hidden, mask)
        coefficient = formulas.relative_coefficient(vector * weights, objective.steering_coefficient, norm)
        if objective.reach is not None:
            coefficient = min(coefficient, objective.reach / np.linalg.norm(vector * weights))
    if objective.method == "srmu":
        target = formulas.srmu_target(vector, weights, coefficient)
    else:
        target = formulas.rmu_target(vector, coefficient)
    return torch.from_numpy(target).to(forget_frozen.dtype)


def _importance(
    forget: formulas.Array,
    forget_mask: formulas.Mask,
    retain: formulas.Array,
    retain_mask: formulas.Mask,
    objective: PlainObjective,
) -> formulas.Array:
    if objective.fixed_importance is not None:
        return objective.fixed_importance
    raw = formulas.importance_map(
        formulas.mean_activation(forget, forget_mask, objective.statistic),
        formulas.mean_activation(retain, retain_mask, objective.statistic),
        objective.map_name,
        epsilon=objective.map_epsilon,
        difference_lambda=objective.difference_lambda,
    )
    return formulas.normalised_importance(raw)


def _numpy(hidden: Tensor) -> formulas.Array:
    return hidden.detach().double().numpy()
