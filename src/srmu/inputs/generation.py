"""Continue token rows or texts, token by token, with the key/value cache; generation configs are ignored."""

import inspect
from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srmu.inputs.judged_texts import WrittenText

BATCH = 128
Chooser = Callable[[Float[Tensor, "batch vocab"]], Int[Tensor, " batch"]]


def max_positions(model: PreTrainedModel) -> int:
    """Longest input in tokens that the config admits; 2048 if it does not say, as in lm-evaluation-harness."""
    config = model.config.get_text_config(decoder=True)
    for name in ("n_positions", "max_position_embeddings", "n_ctx"):
        if getattr(config, name, None):
            return int(getattr(config, name))
    return 2048


def greedy(logits: Float[Tensor, "batch vocab"]) -> Int[Tensor, " batch"]:
    """The most likely token."""
    return logits.argmax(-1)


class Sampler:
    """Draws tokens at temperature 1, and remembers how likely each was.

    Args:
        generator: On the model's device.

    Attributes:
        nats: Of each step, minus the log-probability of every row's token.
    """

    def __init__(self, generator: torch.Generator):
        self.generator = generator
        self.nats: list[Tensor] = []

    def __call__(self, logits: Tensor) -> Tensor:
        """Token ids `[batch]` of float32 logits `[batch, vocab]`."""
        log_probabilities = logits.log_softmax(-1)
        drawn = torch.multinomial(log_probabilities.exp(), 1, generator=self.generator)
        self.nats.append(-log_probabilities.gather(-1, drawn).squeeze(-1))
        return drawn.squeeze(-1)


def continue_rows(
    model: PreTrainedModel,
    rows: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    stop_ids: frozenset[int],
    choose: Chooser = greedy,
) -> list[list[int]]:
    """Continue each row until a stop token or the limit.

    Rows are padded on the left by hand and positions count real tokens, so the tokenizer's pad token and side do
    not matter. A row that has ended stays in the batch until all have.

    Args:
        model: In eval mode.
        rows: Token ids, at least one each.
        max_new_tokens: Most new tokens per row; no more than the model has positions for.
        stop_ids: Tokens that end a row; they are not returned.
        choose: Makes token ids `[batch]` of float32 logits `[batch, vocab]`.

    Returns:
        The new tokens of each row.
    """
    max_new_tokens = min(max_new_tokens, max_positions(model) - max(map(len, rows)))
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        return _continue_without_cache(model, rows, max_new_tokens, stop_ids, choose)
    device = model.device
    length = max(map(len, rows))
    token_ids = torch.tensor([[0] * (length - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows], device=device)
    position_ids = (mask.cumsum(-1) - 1).clamp(min=0)
    stops = torch.tensor(sorted(stop_ids), dtype=torch.long, device=device)
    ended = torch.zeros(len(rows), dtype=torch.bool, device=device)
    cache, steps = None, []
    with torch.inference_mode():
        for _ in range(max_new_tokens):
            output = model(
                input_ids=token_ids, attention_mask=mask, position_ids=position_ids, past_key_values=cache,
                use_cache=True, logits_to_keep=1,
            )  # fmt: skip
            if "past_key_values" not in output:
                return _continue_without_cache(model, rows, max_new_tokens, stop_ids, choose)
            cache = output.past_key_values
            new_ids = choose(output.logits[:, -1].float())
            steps.append(new_ids)
            ended |= torch.isin(new_ids, stops)
            if ended.all():
                break
            token_ids, position_ids = new_ids[:, None], position_ids[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
    written = torch.stack(steps, dim=1).tolist() if steps else [[] for _ in rows]
    return [_before_stop(row, stop_ids) for row in written]


def _continue_without_cache(
    model: PreTrainedModel,
    rows: Sequence[Sequence[int]],
    max_new_tokens: int,
    stop_ids: frozenset[int],
    choose: Chooser,
) -> list[list[int]]:
    """Without a key/value cache, which Mamba has not: each step reads the whole rows, padded on the right."""
    texts = [list(row) for row in rows]
    ended = [False] * len(texts)
    with torch.inference_mode():
        for _ in range(max_new_tokens):
            width = max(map(len, texts))
            token_ids = torch.tensor([text + [0] * (width - len(text)) for text in texts], device=model.device)
            ends = torch.tensor([len(text) - 1 for text in texts], device=model.device)
            logits = model(input_ids=token_ids, use_cache=False).logits
            new_ids = choose(logits[torch.arange(len(texts), device=model.device), ends].float()).tolist()
            for place, token in enumerate(new_ids):
                texts[place].append(token)
                ended[place] |= token in stop_ids
            if all(ended):
                break
    return [_before_stop(text[len(row) :], stop_ids) for text, row in zip(texts, rows, strict=True)]


class Writer:
    """Continues texts at temperature 1, in batches of similar length, from one generator.

    Args:
        model: In eval mode.
        tokenizer: Its tokenizer.
        seed: The same seed gives the same texts on one machine.
        total: Texts that will be continued in all, for the progress.
        progress: Called with texts continued and `total`.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        seed: int,
        total: int,
        progress: Callable[[int, int], None] | None = None,
    ):
        self.model, self.tokenizer, self.total, self.progress = model, tokenizer, total, progress
        self.generator = torch.Generator(device=model.device).manual_seed(seed)
        self.done = 0

    def write(self, texts: Sequence[str], tokens: int) -> list[str]:
        """What the model says after each text."""
        return [one.added for one in self.compose(texts, tokens)]

    def compose(self, texts: Sequence[str], tokens: int, *, first_line: bool = False) -> list[WrittenText]:
        """Each text with what the model says after it, or with the first line of that, and how likely it finds it."""
        stops = stop_token_ids(self.model, self.tokenizer.eos_token_id)
        rows = [self.tokenizer(text)["input_ids"] for text in texts]
        written: dict[int, WrittenText] = {}
        for numbers in self._batches(rows):
            sampler = Sampler(self.generator)
            new = continue_rows(
                self.model, [rows[number] for number in numbers],
                max_new_tokens=tokens, stop_ids=stops, choose=sampler,
            )  # fmt: skip
            nats = torch.stack(sampler.nats, dim=1).tolist()
            for number, added, row_nats in zip(numbers, new, nats, strict=True):
                kept = self._first_line(added) if first_line else added
                said = str(self.tokenizer.decode(kept, skip_special_tokens=True))
                mean = sum(row_nats[: len(kept)]) / max(1, len(kept))
                written[number] = WrittenText(texts[number], said, tuple(kept), mean)
            self.done += len(numbers)
            if self.progress:
                self.progress(self.done, self.total)
        return [written[number] for number in range(len(texts))]

    def _first_line(self, token_ids: list[int]) -> list[int]:
        """The tokens before the first that holds a line break."""
        broken = (place for place, token in enumerate(token_ids) if "\n" in self.tokenizer.decode([token]))
        return token_ids[: next(broken, len(token_ids))]

    def _batches(self, rows: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Rows of one length together, so that few are padded."""
        order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
        for start in range(0, len(order), BATCH):
            yield order[start : start + BATCH]


def stop_token_ids(model: PreTrainedModel, tokenizer_eos: int | None) -> frozenset[int]:
    """End-of-text ids of the tokenizer and of the model's generation config, which may name several."""
    generation = getattr(model, "generation_config", None)
    named = getattr(generation, "eos_token_id", None)
    several = named if isinstance(named, list) else [named]
    # What a checkpoint says of itself may be anything.
    return frozenset(token for token in (*several, tokenizer_eos) if isinstance(token, int) and 0 <= token < 1 << 31)


def _before_stop(row: list[int], stop_ids: frozenset[int]) -> list[int]:
    end = next((place for place, token in enumerate(row) if token in stop_ids), len(row))
    return row[:end]
