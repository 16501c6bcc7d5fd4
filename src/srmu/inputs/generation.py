"""Continue token rows or texts, token by token, with the key/value cache; generation configs are ignored."""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

BATCH = 64
Chooser = Callable[[Float[Tensor, "batch vocab"]], Int[Tensor, " batch"]]


def greedy(logits: Float[Tensor, "batch vocab"]) -> Int[Tensor, " batch"]:
    """The most likely token."""
    return logits.argmax(-1)


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
        max_new_tokens: Most new tokens per row.
        stop_ids: Tokens that end a row; they are not returned.
        choose: Makes token ids `[batch]` of float32 logits `[batch, vocab]`.

    Returns:
        The new tokens of each row.
    """
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
        stops = stop_token_ids(self.model, self.tokenizer.eos_token_id)
        said = [""] * len(texts)
        for numbers in self._batches(texts):
            rows = [self.tokenizer(texts[number])["input_ids"] for number in numbers]
            new = continue_rows(self.model, rows, max_new_tokens=tokens, stop_ids=stops, choose=self._sample)
            for number, token_ids in zip(numbers, new, strict=True):
                said[number] = str(self.tokenizer.decode(token_ids, skip_special_tokens=True))
            self.done += len(numbers)
            if self.progress:
                self.progress(self.done, self.total)
        return said

    def _batches(self, texts: Sequence[str]) -> Iterator[list[int]]:
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
        for start in range(0, len(order), BATCH):
            yield order[start : start + BATCH]

    def _sample(self, logits: Tensor) -> Tensor:
        return torch.multinomial(logits.softmax(-1), 1, generator=self.generator).squeeze(-1)


def stop_token_ids(model: PreTrainedModel, tokenizer_eos: int | None) -> frozenset[int]:
    """End-of-text ids of the tokenizer and of the model's generation config, which may name several."""
    generation = getattr(model, "generation_config", None)
    named = getattr(generation, "eos_token_id", None)
    several = named if isinstance(named, list) else [named]
    return frozenset(int(token) for token in (*several, tokenizer_eos) if token is not None)


def _before_stop(row: list[int], stop_ids: frozenset[int]) -> list[int]:
    end = next((place for place, token in enumerate(row) if token in stop_ids), len(row))
    return row[:end]
