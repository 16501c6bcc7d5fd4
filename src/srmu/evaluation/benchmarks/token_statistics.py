"""The log-probability of every token of a text beside what the model's own distribution has there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srmu.errors import InputError
from srmu.evaluation.encoding import encode
from srmu.evaluation.logits import batch_token_limit, logits_at
from srmu.evaluation.texts import batches_by_length
from srmu.inputs.generation import max_positions
from srmu.runtime.processes import joined, own_part
from srmu.runtime.progress import Progress

# Probabilities, log-probabilities and their products stand beside the logits.
_COPIES = 4


@dataclass(frozen=True, kw_only=True)
class TokenStatistics:
    """One text; float64, `[tokens]`, one entry for each token after the first."""

    log_probabilities: np.ndarray
    """Natural logarithm."""
    means: np.ndarray
    """Sum over the vocabulary of `p log p`."""
    deviations: np.ndarray
    """Root of the sum of `p (log p)^2` less the mean squared."""


def token_statistics(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    batch_tokens: int = 4096,
    progress: Progress | None = None,
) -> list[TokenStatistics]:
    """Score every text as a whole, with the tokenizer's own special tokens; only its beginning where it is too long.

    Args:
        model: In eval mode.
        tokenizer: Its padding side and pad token play no part.
        texts: Each of two tokens or more.
        batch_tokens: Most tokens in one forward pass.
        progress: Called with texts done and texts in all.

    Raises:
        InputError: A text has a single token.
    """
    window = max_positions(model)
    rows = [encode(tokenizer, text)[:window] for text in texts]
    short = next((text for text, row in zip(texts, rows, strict=True) if len(row) < 2), None)
    if short is not None:
        raise InputError(f"The text {short!r} has a single token, so nothing is predicted. Leave it out.")
    lengths = [len(row) - 1 for row in rows]
    ends = np.cumsum(lengths)
    values = np.zeros((int(ends[-1]), 3))
    batches = own_part(batches_by_length(lengths, max(1, batch_token_limit(model, batch_tokens) // _COPIES)))
    done, in_all = 0, sum(map(len, batches))
    for batch in batches:
        found = _score(model, [rows[number] for number in batch])
        places = np.concatenate([np.arange(ends[number] - lengths[number], ends[number]) for number in batch])
        values[places] = found
        done += len(batch)
        if progress:
            progress(done, in_all)
    parts = np.split(np.asarray(joined(values)), ends[:-1])
    return [TokenStatistics(log_probabilities=one[:, 0], means=one[:, 1], deviations=one[:, 2]) for one in parts]


def _score(model: PreTrainedModel, rows: list[list[int]]) -> np.ndarray:
    """Log-probability, mean and deviation of every token but the first of each row, `[tokens, 3]`."""
    # The last token predicts nothing, so it is not run.
    width = max(map(len, rows)) - 1
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row) - 1] = torch.tensor(row[:-1])
        mask[place, : len(row) - 1] = 1
    inputs: dict[str, Any] = {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device)}
    logits = logits_at(model, inputs, mask.flatten().nonzero().squeeze(-1).to(model.device))
    targets: Tensor = torch.tensor([token for row in rows for token in row[1:]], device=logits.device)
    log_p = logits.log_softmax(-1)
    p = log_p.exp()
    mean = (p * log_p).sum(-1)
    # Around the mean, so that no difference of large numbers is taken.
    deviation = (p * (log_p - mean[:, None]).square()).sum(-1).sqrt()
    right = log_p.gather(-1, targets[:, None]).squeeze(-1)
    return torch.stack([right, mean, deviation], dim=-1).double().cpu().numpy()
