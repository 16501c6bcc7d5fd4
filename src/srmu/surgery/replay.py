"""The engine's two passes: a frozen one over layers 0..l, and a short replay of the trained layers with gradient.

One set of weights serves both: the replay swaps the trained matrices in by `torch.func.functional_call`.

Rows are right-padded and attention is causal, so a real token never sees padding: no padding mask is built, and what
a layer is called with depends on the batch's shape alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from srmu.errors import InputError
from srmu.objective.tensors import Hidden, TokenIds
from srmu.runtime.processes import largest
from srmu.surgery.late_start import find_late_start
from srmu.surgery.model_class import check_strands
from srmu.surgery.sharding import is_sharded
from srmu.surgery.taps import ModuleCall, close, hidden_of, same, tapped_inputs, tapped_outputs, the_only
from srmu.surgery.truncate import TruncatedModel


@dataclass(frozen=True)
class Entry:
    """Where a replay begins, in the compute dtype.

    Attributes:
        hidden: Residual stream `[batch, seq, hidden]`: before the first trained layer, or, where there is `inner`, what
            that layer adds the output of its last module to.
        inner: Input of that last module; none = the replay begins with the whole layer.
        given: What layers take besides, of each token, `[batch, seq, ...]`, in the order of `Replayer.per_token`.
    """

    hidden: Hidden
    inner: Float[Tensor, "batch seq inner"] | None = None
    given: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class FrozenPass:
    """Everything frozen that a step needs.

    Attributes:
        entry: Where the replay of these rows begins.
        output: Residual stream after the tapped layer, `[batch, seq, hidden]`, compute dtype.
    """

    entry: Entry
    output: Hidden


class Replayer:
    """Runs the frozen layers, and replays the trained ones with other weights.

    Args:
        truncated: The embedding and layers 0..l; the tapped layer is its last.
        first_layer: The lowest trained layer.
        trained: Names, within that layer, of its trained parameters; none given = any.

    Raises:
        InputError: If the family's tokens see later ones, or a replay of its layers gives something else than they did.
    """

    def __init__(self, truncated: TruncatedModel, first_layer: int, trained: Sequence[str] = ()):
        self.truncated = truncated
        self.layer_ids = tuple(range(first_layer, len(truncated.layers)))
        self.sharded = is_sharded(truncated)
        self._calls: dict[int, dict[int, ModuleCall]] = {}
        self.stacked = self._find_stacked()
        self.per_token = self._find_per_token()
        self.given_size = self._count_given()
        probe = self._probe()
        self.late_start = find_late_start(truncated.layers[first_layer], trained, lambda: self._run(probe))
        self._check_replay()

    def extra_passes(self, needed: int) -> int:
        """How many passes a rank must run beside the ones it needs, so that all run as many; asks all ranks.

        Layers that are divided over ranks are gathered by all of them at once. With whole layers it is none.
        """
        return largest(needed) - needed if self.sharded else 0

    @torch.no_grad()
    def idle_pass(self) -> None:
        """Take part in a pass over other ranks' rows."""
        self._run(self._probe())

    def record_calls(self, lengths: Iterable[int]) -> None:
        """Note what layers are called with at these row lengths; where ranks share layers, before they part ways."""
        for length in sorted(set(lengths)):
            self._calls_for(length, self._probe().device)

    @torch.no_grad()
    def frozen_pass(
        self, token_ids: TokenIds, *, late: bool = True, below: Mapping[str, Tensor] | None = None
    ) -> FrozenPass:
        """Run layers 0..l on right-padded rows; taps are removed even when the model raises.

        Args:
            token_ids: `[batch, seq]`.
            late: Let the replay begin behind what is frozen of the first trained layer, where that is possible; its
                entry is larger.
            below: By name, matrices of layers below the first trained one in place of the model's; none = its own.
        """
        first, last = self.truncated.layers[self.layer_ids[0]], self.truncated.layers[-1]
        starts = {"hidden": first}
        if late and self.late_start is not None:
            starts = {
                "hidden": first.get_submodule(self.late_start.residual_name),
                "inner": first.get_submodule(self.late_start.last_name),
            }
        taking = {layer_id: self.truncated.layers[layer_id] for layer_id, _ in self.per_token}
        with (
            tapped_inputs(starts) as calls,
            tapped_inputs(taking) as layer_calls,
            tapped_outputs({"last": last}) as outputs,
        ):
            self._run(token_ids, below)
        given = tuple(the_only(layer_calls[layer_id]).taken(place) for layer_id, place in self.per_token)
        entry = Entry(**{name: the_only(made).hidden for name, made in calls.items()}, given=given)
        return FrozenPass(entry=entry, output=the_only(outputs["last"]))

    def replay(self, entry: Entry, weights: Mapping[int, Mapping[str, Tensor]]) -> Hidden:
        """Run the trained layers from `entry` with `weights` in place of the frozen ones.

        Args:
            entry: From a frozen pass.
            weights: Layer id -> parameter name within the layer -> weight in the compute dtype.

        Returns:
            Residual stream after the tapped layer, `[batch, seq, hidden]`.
        """
        hidden, layer_ids = entry.hidden, self.layer_ids
        calls = {
            layer_id: call.for_rows(len(hidden), self.stacked[layer_id])
            for layer_id, call in self._calls_for(int(hidden.shape[1]), hidden.device).items()
        }
        for (layer_id, place), value in zip(self.per_token, entry.given, strict=True):
            calls[layer_id] = calls[layer_id].with_taken(place, value)
        if entry.inner is not None:
            hidden = self._finish_layer(entry, weights.get(layer_ids[0], {}))
            layer_ids = layer_ids[1:]
        for layer_id in layer_ids:
            layer, call = self.truncated.layers[layer_id], calls[layer_id]
            given = dict(weights.get(layer_id, {}))
            # No parameter of a decoder layer has two names; looking for such costs a tenth of a small model's step.
            output = functional_call(layer, given, (hidden, *call.args), call.kwargs, tie_weights=False)
            hidden = hidden_of(output)
        return hidden

    def _finish_layer(self, entry: Entry, weights: Mapping[str, Tensor]) -> Hidden:
        """The first trained layer from its late start to its end."""
        assert self.late_start is not None
        name = self.late_start.last_name
        module = self.truncated.layers[self.layer_ids[0]].get_submodule(name)
        given = {parameter.removeprefix(f"{name}."): weight for parameter, weight in weights.items()}
        return entry.hidden + functional_call(module, given, (entry.inner,), tie_weights=False)

    def _run(self, token_ids: TokenIds, below: Mapping[str, Tensor] | None = None) -> None:
        inner, given = self.truncated.inner, {"input_ids": token_ids, "use_cache": False}
        if below:
            functional_call(inner, dict(below), (), given, tie_weights=False)
        else:
            inner(**given)

    def _calls_for(self, length: int, device: torch.device) -> dict[int, ModuleCall]:
        """What the layers are called with at this row length: recorded once, on one row, and broadcast over rows."""
        if length not in self._calls:
            self._calls[length] = self._record_calls(torch.zeros((1, length), dtype=torch.long, device=device))
        return self._calls[length]

    @torch.no_grad()
    def _record_calls(self, token_ids: TokenIds) -> dict[int, ModuleCall]:
        with tapped_inputs({layer_id: self.truncated.layers[layer_id] for layer_id in self.layer_ids}) as calls:
            self._run(token_ids)
        return {layer_id: ModuleCall(None, made[0].args, made[0].kwargs) for layer_id, made in calls.items()}

    def _probe(self) -> TokenIds:
        """One short row of different tokens."""
        length = min(8, self.truncated.vocab_size)
        return torch.arange(length, device=next(self.truncated.inner.parameters()).device).unsqueeze(0)

    def _find_stacked(self) -> dict[int, set[int | str]]:
        """Of each layer, the places of tensors whose first axis grows with the rows without being one of rows."""
        probe = self._probe()
        one = self._calls_for(int(probe.shape[1]), probe.device)
        two = self._record_calls(probe.repeat(2, 1))
        return {
            layer_id: {
                place
                for place in call.places()
                if isinstance(value := call.taken(place), Tensor)
                and value.dim()
                and len(value) > 1
                and len(two[layer_id].taken(place)) == 2 * len(value)
            }
            for layer_id, call in one.items()
        }

    def _find_per_token(self) -> tuple[tuple[int, int | str], ...]:
        """By layer and place, what layers are given of each token besides the stream: Gemma's per-layer embeddings."""
        probe = self._probe()
        zeros = self._calls_for(int(probe.shape[1]), probe.device)
        other = self._record_calls(probe)
        found = []
        for layer_id in self.layer_ids:
            for place in zeros[layer_id].places():
                one, two = zeros[layer_id].taken(place), other[layer_id].taken(place)
                if isinstance(one, Tensor) and one.shape[:2] == probe.shape and not same(one, two):
                    found.append((layer_id, place))
        return tuple(found)

    def _count_given(self) -> int:
        """Numbers that a token has in what layers take of it."""
        calls = self._calls_for(int(self._probe().shape[1]), self._probe().device)
        return sum(calls[layer_id].taken(place)[0, 0].numel() for layer_id, place in self.per_token)

    @torch.no_grad()
    def _check_replay(self) -> None:
        """Prove on a probe that a replay gives what the layers gave, and that no token sees a later one."""
        probe = self._probe()
        frozen = self.frozen_pass(probe)
        if not frozen.output.isfinite().all():
            # Nothing can be proved of it; the training stops at its first step and says so.
            return
        check_strands(frozen.output, self.truncated.family)
        if not close(self.replay(frozen.entry, {}), frozen.output):
            raise InputError(
                f"Layers of a {self.truncated.family!r} model were to be replayed, but they take inputs that depend on "
                "the tokens besides the residual stream. srmu cannot train this family."
            )
        changed = probe.clone()
        changed[0, -1] = 0
        if not close(self.frozen_pass(changed).output[:, :-1], frozen.output[:, :-1]):
            raise InputError(
                f"Tokens of a {self.truncated.family!r} model see those after them, and srmu works on decoders alone. "
                "Use a decoder-only model."
            )
