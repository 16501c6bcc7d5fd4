"""How well a model predicts texts: loss per token, perplexity, and its first choice at every position."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srmu.errors import InputError
from srmu.evaluation.encoding import encode
from srmu.evaluation.logits import batch_token_limit, logits_at, reduce_rows
from srmu.inputs.generation import max_positions
from srmu.runtime.processes import joined, own_part

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class TextScores:
    """One entry a predicted token, documents in the given order.

    The first token of a document, and of each further window of a long one, is not predicted and has no entry.
    """

    token_nll: np.ndarray
    """Float32, nats."""
    top_ids: np.ndarray
    """Int32, the token that the model holds most likely."""
    target_ids: np.ndarray
    """Int32, the token that is in the text."""
    document_tokens: np.ndarray
    """Predicted tokens of each document; 0 where it has but one token."""

    @property
    def num_tokens(self) -> int:
        """Predicted tokens in all."""
        return len(self.token_nll)

    @property
    def nll(self) -> float:
        """Mean nats per predicted token."""
        return float(self.token_nll.mean(dtype=np.float64))

    @property
    def perplexity(self) -> float:
        """`exp(nll)`."""
        return float(np.exp(self.nll))

    @property
    def top_accuracy(self) -> float:
        """Share of tokens that were the model's first choice."""
        return float((self.top_ids == self.target_ids).mean())

    @property
    def document_nll(self) -> np.ndarray:
        """Mean nats per token of each document, float64; nan where nothing is predicted."""
        documents = np.repeat(np.arange(len(self.document_tokens)), self.document_tokens)
        sums = np.bincount(documents, weights=self.token_nll, minlength=len(self.document_tokens))
        with np.errstate(invalid="ignore"):
            return np.asarray(sums / self.document_tokens, dtype=np.float64)


def text_scores(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str | Sequence[int]],
    *,
    begin: Sequence[int] | None = None,
    window: int = 512,
    batch_tokens: int = 4096,
    progress: Progress | None = None,
) -> TextScores:
    """Score every token of every text.

    Args:
        model: In eval mode.
        tokenizer: Adds its own special tokens, as in training.
        texts: Strings, or rows of token ids taken as they are.
        begin: Of each text, the number of tokens before the first that is scored; none = 1 of each.
        window: Longer texts are split into windows of so many tokens, each by itself.
        batch_tokens: Most tokens in one forward pass; fewer where the vocabulary is large.
        progress: Called with tokens done and tokens in all.

    Raises:
        InputError: If no text has two tokens, or one from its beginning on.
    """
    window = min(window, max_positions(model))
    rows = [encode(tokenizer, text) if isinstance(text, str) else [int(token) for token in text] for text in texts]
    unscored = begin or [1] * len(rows)
    pieces = [
        (document, row[start : start + window], first)
        for document, row in enumerate(rows)
        for start in range(0, len(row), window)
        if min(window, len(row) - start) > (first := max(1, unscored[document] - start))
    ]
    if not pieces:
        raise InputError("No text has two tokens, so there is nothing to predict. Give longer texts.")
    lengths = [len(piece) - first for _, piece, first in pieces]
    ends = np.cumsum(lengths)
    token_nll, top_ids = np.zeros(ends[-1], dtype=np.float32), np.zeros(ends[-1], dtype=np.int32)
    run = [len(piece) - 1 for _, piece, _ in pieces]
    batches = own_part(batches_by_length(run, batch_token_limit(model, batch_tokens)))
    done, in_all = 0, sum(lengths[number] for batch in batches for number in batch)
    for batch in batches:
        nll, top = _score_batch(model, *map(list, zip(*(pieces[number][1:] for number in batch), strict=True)))
        places = np.concatenate([np.arange(ends[number] - lengths[number], ends[number]) for number in batch])
        token_nll[places], top_ids[places] = nll, top
        done += len(places)
        if progress:
            progress(done, in_all)
    return TextScores(
        token_nll=joined(token_nll),
        top_ids=joined(top_ids),
        target_ids=np.concatenate([piece[first:] for _, piece, first in pieces]).astype(np.int32),
        document_tokens=np.bincount([d for d, _, _ in pieces], weights=lengths, minlength=len(rows)).astype(np.int64),
    )


def share_of_changed_predictions(before: TextScores, after: TextScores) -> float:
    """Share of tokens whose first choice is another one, of two models on the same texts.

    Raises:
        ValueError: If the texts were not the same.
    """
    if not np.array_equal(before.target_ids, after.target_ids):
        raise ValueError("the two scores are of different texts")
    return float((before.top_ids != after.top_ids).mean())


def batches_by_length(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Numbers of pieces, those of similar length together, longest first; padded, a batch has at most these tokens."""
    batches: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= batch_tokens:
            batches[-1].append(number)
        else:
            batches.append([number])
    return batches


def _score_batch(model: PreTrainedModel, pieces: list[list[int]], firsts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Nats and first choice of every token of each piece from its first predicted one on, pieces one after another."""
    # The last token predicts nothing, so it is not run.
    length = max(map(len, pieces)) - 1
    token_ids = torch.zeros((len(pieces), length), dtype=torch.long)
    mask, wanted = torch.zeros_like(token_ids), torch.zeros_like(token_ids)
    for row, (piece, first) in enumerate(zip(pieces, firsts, strict=True)):
        token_ids[row, : len(piece) - 1] = torch.tensor(piece[:-1])
        mask[row, : len(piece) - 1] = 1
        wanted[row, first - 1 : len(piece) - 1] = 1
    inputs: dict[str, Any] = {
        "input_ids": token_ids.to(model.device),
        "attention_mask": mask.to(model.device),
    }
    logits = logits_at(model, inputs, wanted.flatten().nonzero().squeeze(-1).to(model.device))
    targets: Tensor = torch.tensor(
        [token for piece, first in zip(pieces, firsts, strict=True) for token in piece[first:]], device=model.device
    )
    sums, top = reduce_rows(logits, lambda values: values.logsumexp(-1), lambda values: values.argmax(-1))
    nll = sums - logits.gather(-1, targets[:, None]).squeeze(-1).float()
    return nll.cpu().numpy(), top.cpu().numpy()
