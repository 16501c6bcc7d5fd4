"""Hooks that look and change nothing, and are removed whatever happens."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor, nn

Key = TypeVar("Key")


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
                outputs[key].append(hidden_of(output))

            stack.callback(module.register_forward_hook(hook).remove)
        yield outputs


def the_only(recorded: list[Any]) -> Any:
    """What was recorded, where a tap must fire exactly once."""
    if len(recorded) != 1:
        raise RuntimeError("a tap of the frozen pass did not fire exactly once")
    return recorded[0]


def hidden_of(output: Any) -> Any:
    """The hidden states in a module's output: the tensor itself, or the first of a tuple."""
    return output[0] if isinstance(output, tuple) else output


def _split_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> ModuleCall:
    if args:
        return ModuleCall(args[0], args[1:], dict(kwargs))
    rest = dict(kwargs)
    return ModuleCall(rest.pop("hidden_states", None), (), rest)
