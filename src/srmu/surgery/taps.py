"""Hooks that look and change nothing, and are removed whatever happens."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Key = TypeVar("Key")

# Most families let one mask serve all rows; some count its rows.
_MASK_DIMENSIONS = 4


@dataclass(frozen=True)
class ModuleCall:
    """What a module was called with.

    Attributes:
        hidden: The hidden states: its first argument, or the one named `hidden_states`.
        args: The other positional arguments.
        kwargs: The other named ones.
    """

    hidden: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def places(self) -> list[int | str]:
        """Where its other arguments are: numbers among the positional ones, and names."""
        return [*range(len(self.args)), *self.kwargs]

    def taken(self, place: int | str) -> Any:
        """The argument of a place."""
        return self.args[place] if isinstance(place, int) else self.kwargs[place]

    def with_taken(self, place: int | str, value: Any) -> "ModuleCall":
        """The same call with another argument at a place."""
        if isinstance(place, str):
            return replace(self, kwargs={**self.kwargs, place: value})
        return replace(self, args=(*self.args[:place], value, *self.args[place + 1 :]))

    def for_rows(self, rows: int, stacked: Collection[int | str]) -> "ModuleCall":
        """The call of one row as that of several alike.

        Args:
            rows: How many.
            stacked: Places of tensors that hold the rows one after another on their first axis, as Bloom's biases.
        """
        call = self
        for place in self.places():
            value = self.taken(place)
            if place in stacked:
                call = call.with_taken(place, value.repeat(rows, *[1] * (value.dim() - 1)))
            elif isinstance(value, Tensor) and value.dim() == _MASK_DIMENSIONS and value.shape[0] == 1:
                call = call.with_taken(place, value.expand(rows, -1, -1, -1))
        return call


@contextmanager
def tapped_inputs(modules: Mapping[Key, nn.Module]) -> Iterator[dict[Key, list[ModuleCall]]]:
    """Note the calls of modules, in order, while the context lasts."""
    calls: dict[Key, list[ModuleCall]] = {key: [] for key in modules}
    with ExitStack() as stack:
        for key, module in modules.items():

            def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], key: Key = key) -> None:
                calls[key].append(_split_call(args, kwargs))

            stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
        yield calls


@contextmanager
def tapped_outputs(modules: Mapping[Key, nn.Module]) -> Iterator[dict[Key, list[Tensor]]]:
    """Note the hidden states that modules give, in order, while the context lasts."""
    outputs: dict[Key, list[Tensor]] = {key: [] for key in modules}
    with ExitStack() as stack:
        for key, module in modules.items():

            def hook(_: nn.Module, args: tuple[Any, ...], output: Any, key: Key = key) -> None:
                hidden = hidden_of(output)
                # Falcon adds its attention to what the MLP gave in place.
                outputs[key].append(hidden.clone() if isinstance(hidden, Tensor) else hidden)

            stack.callback(module.register_forward_hook(hook).remove)
        yield outputs


def the_only(recorded: list[Any]) -> Any:
    """What was recorded, where a tap must fire exactly once."""
    if len(recorded) != 1:
        raise RuntimeError("a tap of the frozen pass did not fire exactly once")
    return recorded[0]


def hidden_of(output: Any) -> Any:
    """The hidden states in a module's output: the tensor itself, or the first of several."""
    return output[0] if isinstance(output, (tuple, list)) else output


def _split_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> ModuleCall:
    if args:
        return ModuleCall(args[0], args[1:], dict(kwargs))
    rest = dict(kwargs)
    return ModuleCall(rest.pop("hidden_states", None), (), rest)


def same(one: Any, other: Any) -> bool:
    """Whether two recorded values are equal; of other objects, as caches, whether they are of one type."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (bool, int, float, str)):
        return type(one) is type(other) and one == other
    return type(one) is type(other)


def close(one: Tensor, other: Tensor) -> bool:
    """Whether two activations are the same up to rounding: apart by less than the root of what their dtype resolves."""
    limit = torch.finfo(one.dtype).eps ** 0.5
    apart = torch.linalg.vector_norm((one - other).float())
    return bool(apart <= limit * torch.linalg.vector_norm(other.float()))
