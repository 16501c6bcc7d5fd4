"""The processes of one job, as `accelerate launch` or `torchrun` start them; each is a rank.

Without a launcher there is one rank: everything here then returns what it was given, and torch is not loaded.
Activations and gradients travel on the devices' own backend; the few words that ranks exchange (`gather`, `largest`,
`together`) travel between CPUs, so that no device is waited for.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from srmu.errors import InputError, RunError, SrmuError

T = TypeVar("T")

# Ranks wait while one of them measures, writes retain texts or exports. A rank that died is the launcher's to notice.
_PATIENCE = timedelta(days=7)
_control_group: Any = None
_sharing = False


_LAUNCHERS_SET = ("RANK", "MASTER_ADDR", "MASTER_PORT")


def world_size() -> int:
    """Number of ranks.

    Raises:
        InputError: If the environment speaks of several, and no launcher started this one: it would wait for ever.
    """
    size = _number("WORLD_SIZE", 1)
    missing = [name for name in _LAUNCHERS_SET if not os.environ.get(name)]
    if size > 1 and missing:
        raise InputError(
            f"WORLD_SIZE={size} in the environment says that {size} processes share the work, but {missing[0]} is not "
            "set, so no launcher started this one. Unset WORLD_SIZE, or start with 'accelerate launch' or 'torchrun'."
        )
    if not 0 <= (own := _number("RANK", 0)) < size and size > 1:
        raise InputError(f"RANK={own} in the environment is not below WORLD_SIZE={size}. Start with a launcher.")
    return max(1, size)


def _number(name: str, default: int) -> int:
    value = os.environ.get(name) or str(default)
    try:
        return int(value)
    except ValueError:
        raise InputError(
            f"{name}={value[:40]!r} in the environment is no number. Unset it, or start with a launcher."
        ) from None


def rank() -> int:
    """Number of this rank, from 0, over all machines."""
    return _number("RANK", 0) if world_size() > 1 else 0


def local_rank() -> int:
    """Number of this rank on its machine, from 0."""
    return _number("LOCAL_RANK", 0) if world_size() > 1 else 0


def processes_here() -> int:
    """Number of ranks on this machine."""
    return max(1, _number("LOCAL_WORLD_SIZE", 1))


def main_process() -> bool:
    """Whether this is the rank that writes and prints."""
    return rank() == 0


def share(items: Sequence[T]) -> list[T]:
    """This rank's part of what all ranks have in common."""
    return list(items[rank() :: world_size()])


@contextmanager
def sharing() -> Iterator[None]:
    """Within this block, which all ranks enter, measuring is split: each rank takes its part of the batches.

    Outside of it a rank that measures does so alone.
    """
    global _sharing
    former, _sharing = _sharing, world_size() > 1
    try:
        yield
    finally:
        _sharing = former


def own_part(items: Sequence[T]) -> list[T]:
    """This rank's part of work that ranks share; all of it outside of `sharing`."""
    return share(items) if _sharing else list(items)


def joined(array: Any) -> Any:
    """A NumPy array of which each rank has filled its own entries and left the others 0, filled whole."""
    if not _sharing:
        return array
    import torch

    # A sum of a value and zeros is that value to the last bit.
    torch.distributed.all_reduce(tensor := torch.from_numpy(array), group=_control_group)
    return tensor.numpy()


def united(parts: dict[int, T]) -> dict[int, T]:
    """JSON values by number, of which each rank has its own, all together."""
    if not _sharing:
        return parts
    return {number: value for items in gather(list(parts.items())) for number, value in items}


def connect(*, cpu: bool) -> None:
    """Meet the other ranks, if there are any; a second call does nothing.

    Args:
        cpu: Whether the ranks compute on CPUs even where there are accelerators.
    """
    global _control_group
    if world_size() == 1 or _control_group is not None:
        return
    import torch
    from accelerate import PartialState  # type: ignore[import-untyped]

    # Without an accelerator, PartialState takes the job for a single process.
    PartialState(cpu=cpu or not torch.accelerator.is_available(), timeout=_PATIENCE)
    _control_group = torch.distributed.new_group(backend="gloo", timeout=_PATIENCE)


def sum_over_ranks(tensor: T) -> T:
    """Add up a tensor over ranks; it must have the same shape, dtype and kind of device on each, and is overwritten."""
    if world_size() > 1:
        import torch

        torch.distributed.all_reduce(tensor)
    return tensor


def largest(value: int) -> int:
    """The largest value that a rank has."""
    if world_size() == 1:
        return value
    import torch

    tensor = torch.tensor(value)
    torch.distributed.all_reduce(tensor, op=torch.distributed.ReduceOp.MAX, group=_control_group)
    return int(tensor)


def gather(value: Any) -> list[Any]:
    """The JSON value of each rank, in the order of ranks."""
    if world_size() == 1:
        return [value]
    import torch

    content = json.dumps(value).encode()
    lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(world_size())]
    torch.distributed.all_gather(lengths, torch.tensor([len(content)]), group=_control_group)
    longest = max(int(length) for length in lengths)
    padded = torch.tensor(list(content.ljust(longest)), dtype=torch.uint8)
    parts = [torch.zeros_like(padded) for _ in range(world_size())]
    torch.distributed.all_gather(parts, padded, group=_control_group)
    return [json.loads(bytes(part.tolist())) for part in parts]


def from_main(value: T) -> T:
    """The JSON value that the main process has; others may give anything."""
    if world_size() == 1:
        return value
    given: T = gather(value if main_process() else None)[0]
    return given


@contextmanager
def together() -> Iterator[None]:
    """An error of one rank inside this block ends all ranks at its end, so that none waits for one that is gone.

    The block must not communicate. Ranks that had no error raise that of the first one that had.
    """
    if world_size() == 1:
        yield
        return
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    failures = gather(None if failure is None else [isinstance(failure, InputError), _describe(failure)])
    if failure is not None:
        raise failure
    for is_input_error, message in filter(None, failures):
        raise (InputError if is_input_error else RunError)(message)


def _describe(error: Exception) -> str:
    if isinstance(error, SrmuError):
        return str(error)
    return f"Process {rank()} stopped with {type(error).__name__}: {error}"
