"""The engine's two passes: a frozen one over layers 0..l, and a short replay of the trained layers with gradient.

One set of weights serves both: the replay swaps the trained matrices in by `torch.func.functional_call`.

Rows are right-padded and attention is causal, so a real token never sees padding: no padding mask is built, and what
a layer is called with depends on the batch's shape alone.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from srmu.errors import InputError
from srmu.surgery.truncate import TruncatedModel
from srmu.tensors import Hidden, TokenIds


@dataclass(frozen=True)
class LayerCall:
    """What a decoder layer was called with, apart from the hidden states."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class FrozenPass:
    """Everything frozen that a step needs.

    Attributes:
        entry: Residual stream before the first trained layer, `[batch, seq, hidden]`, compute dtype.
        output: Residual stream after the tapped layer, likewise.
    """

    entry: Hidden
    output: Hidden


class Replayer:
    """Runs the frozen layers, and replays the trained ones with other weights.

    Args:
        truncated: The embedding and layers 0..l; the tapped layer is its last.
        first_layer: The lowest trained layer.

    Raises:
        InputError: If what the layers are called with depends on the tokens, so that a replay could not repeat it.
    """

    def __init__(self, truncated: TruncatedModel, first_layer: int):
        self.truncated = truncated
        self.layer_ids = tuple(range(first_layer, len(truncated.layers)))
        self._calls: dict[int, dict[int, LayerCall]] = {}
        self._check_calls_ignore_tokens()

    @torch.no_grad()
    def frozen_pass(self, token_ids: TokenIds) -> FrozenPass:
        """Run layers 0..l on right-padded rows; taps are removed even when the model raises."""
        entries: list[Tensor] = []
        outputs: list[Tensor] = []
        first, last = self.truncated.layers[self.layer_ids[0]], self.truncated.layers[-1]
        with ExitStack() as stack:
            stack.callback(
                first.register_forward_pre_hook(
                    lambda _m, args, kwargs: entries.append(_split_call(args, kwargs)[0]), with_kwargs=True
                ).remove
            )
            stack.callback(last.register_forward_hook(lambda _m, _a, out: outputs.append(hidden_of(out))).remove)
            self.truncated.inner(input_ids=token_ids, use_cache=False)
        if len(entries) != 1 or len(outputs) != 1:
            raise RuntimeError("a tap of the frozen pass did not fire exactly once")
        return FrozenPass(entry=entries[0], output=outputs[0])

    def replay(self, entry: Hidden, weights: Mapping[int, Mapping[str, Tensor]]) -> Hidden:
        """Run the trained layers from `entry` with `weights` in place of the frozen ones.

        Args:
            entry: `[batch, seq, hidden]`, from a frozen pass.
            weights: Layer id -> parameter name within the layer -> weight in the compute dtype.

        Returns:
            Residual stream after the tapped layer, `[batch, seq, hidden]`.
        """
        calls = self._calls_for(int(entry.shape[1]), entry.device)
        hidden = entry
        for layer_id in self.layer_ids:
            layer, call = self.truncated.layers[layer_id], calls[layer_id]
            given = dict(weights.get(layer_id, {}))
            # No parameter of a decoder layer has two names; looking for such costs a tenth of a small model's step.
            output = functional_call(layer, given, (hidden, *call.args), call.kwargs, tie_weights=False)
            hidden = hidden_of(output)
        return hidden

    def _calls_for(self, length: int, device: torch.device) -> dict[int, LayerCall]:
        """What the layers are called with at this row length: recorded once, on one row, and broadcast over rows."""
        if length not in self._calls:
            self._calls[length] = self._record_calls(torch.zeros((1, length), dtype=torch.long, device=device))
        return self._calls[length]

    @torch.no_grad()
    def _record_calls(self, token_ids: TokenIds) -> dict[int, LayerCall]:
        calls: dict[int, LayerCall] = {}

        def record(layer_id: int) -> Callable[..., None]:
            def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                calls[layer_id] = _split_call(args, kwargs)[1]

            return hook

        with ExitStack() as stack:
            for layer_id in self.layer_ids:
                layer = self.truncated.layers[layer_id]
                stack.callback(layer.register_forward_pre_hook(record(layer_id), with_kwargs=True).remove)
            self.truncated.inner(input_ids=token_ids, use_cache=False)
        return calls

    def _check_calls_ignore_tokens(self) -> None:
        device = next(self.truncated.inner.parameters()).device
        length = min(8, self.truncated.vocab_size)
        zeros = self._calls_for(length, device)
        other = self._record_calls(torch.arange(length, device=device).unsqueeze(0))
        for layer_id in self.layer_ids:
            if not _same(zeros[layer_id].args, other[layer_id].args) or not _same(
                zeros[layer_id].kwargs, other[layer_id].kwargs
            ):
                raise InputError(
                    f"Layer {layer_id} of a {self.truncated.family!r} model was to be replayed, but it takes inputs "
                    "that depend on the tokens besides the residual stream. srmu cannot train this family."
                )


def _same(one: Any, other: Any) -> bool:
    """Whether two recorded values are equal; of other objects, as caches, whether they are of one type."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (bool, int, float, str)):
        return type(one) is type(other) and one == other
    return type(one) is type(other)


def hidden_of(output: Any) -> Tensor:
    """The hidden states in a decoder layer's output: the tensor itself, or the first of a tuple."""
    return output[0] if isinstance(output, tuple) else output


def _split_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, LayerCall]:
    """Separate the hidden states (first argument, or `hidden_states`) from the rest of a layer's call."""
    if args:
        return args[0], LayerCall(args[1:], dict(kwargs))
    rest = dict(kwargs)
    return rest.pop("hidden_states"), LayerCall((), rest)
