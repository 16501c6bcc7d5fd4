"""How much of a text a model can still say by heart, from its first choice at every position.

Both measures need one forward pass: as long as every token before was right, the model's first choice after the true
text is what greedy decoding would have written.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srmu.evaluation.encoding import encode_pairs, wrap_in_chat
from srmu.evaluation.texts import TextScores, text_scores
from srmu.inputs.completions import Completion
from srmu.inputs.generation import max_positions


@dataclass(frozen=True, kw_only=True)
class MemorizationScores:
    """One entry a text that has a predicted token; float64, 0 to 1."""

    extraction_strength: np.ndarray
    exact_memorization: np.ndarray


def extraction_strength(right: np.ndarray) -> float:
    """Share of a text that greedy decoding writes to its end, given the shortest beginning from which it does.

    `1 - k / L`, where k is the least number of the L tokens that must be given so that all later ones follow (after
    Carlini et al., arXiv 2012.07805; a metric of unlearning in arXiv 2406.09179). 1: the whole text; 0: not even the
    last token, where OpenUnlearning gives 1 / L.

    Args:
        right: Bool, one entry a predicted token: the model's first choice was the text's token.
    """
    wrong = np.flatnonzero(~right)
    given = int(wrong[-1]) + 1 if len(wrong) else 0
    return 1 - given / len(right)


def exact_memorization(right: np.ndarray) -> float:
    """Share of tokens that are the model's first choice after the true text before them (arXiv 2205.10770)."""
    return float(right.mean())


def memorization_of_texts(scores: TextScores) -> MemorizationScores:
    """Of every text that was scored; the first token, which nothing predicts, does not count.

    Of a text longer than the scoring window, each window's first token is not predicted either.
    """
    ends = np.cumsum(scores.document_tokens)
    return _memorization(np.split(scores.top_ids == scores.target_ids, ends[:-1]))


def memorization_of_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    completions: Sequence[Completion],
    *,
    chat: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> MemorizationScores:
    """Of the answers after their prompts, at whose tokens alone the model is judged.

    This is the setting of MUSE's verbatim memorisation (arXiv 2407.06460), which compares a free continuation by ROUGE
    instead; that one is in `AnswerScores`.

    Args:
        model: In eval mode.
        tokenizer: Its padding side and pad token play no part.
        completions: At least one.
        chat: Put the prompt in the chat template.
        progress: Called with tokens done and tokens in all.

    Raises:
        InputError: If an answer has no token of its own, or there is no chat template.
    """
    rows, lengths = [], []
    for completion in completions:
        prompt = wrap_in_chat(tokenizer, completion.prompt) if chat else completion.prompt
        gap = "" if chat or prompt[-1:].isspace() or completion.answer[:1].isspace() else " "
        ((context, answer),) = encode_pairs(tokenizer, prompt, [gap + completion.answer])
        rows.append((context + answer)[-max_positions(model) :])
        lengths.append(len(answer))
    scores = text_scores(model, tokenizer, rows, window=max_positions(model), progress=progress)
    ends = np.cumsum(scores.document_tokens)
    by_row = np.split(scores.top_ids == scores.target_ids, ends[:-1])
    return _memorization([right[-length:] for right, length in zip(by_row, lengths, strict=True)])


def _memorization(by_text: Sequence[np.ndarray]) -> MemorizationScores:
    predicted = [right for right in by_text if len(right)]
    return MemorizationScores(
        extraction_strength=np.array([extraction_strength(right) for right in predicted]),
        exact_memorization=np.array([exact_memorization(right) for right in predicted]),
    )
