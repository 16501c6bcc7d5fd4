"""RWKU on one model (arXiv 2406.10890): what it writes, what it chooses, and how familiar passages are to it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srmu.evaluation.benchmarks import rwku_metrics as metrics
from srmu.evaluation.benchmarks.rwku_data import RwkuData
from srmu.evaluation.benchmarks.rwku_prompts import LETTERS, Asker
from srmu.evaluation.benchmarks.rwku_words import split_words
from srmu.evaluation.benchmarks.token_statistics import token_statistics
from srmu.evaluation.completions import complete
from srmu.evaluation.encoding import encode, encode_pairs
from srmu.evaluation.membership import min_k_probability
from srmu.evaluation.prefix_trees import Pair, continuation_log_likelihoods
from srmu.runtime.progress import Progress, Reporter

SHORT, LONG = 30, 256
"""New tokens of an answer, and of one that reasons or follows an instruction; those of the authors' code."""
BATCH_TOKENS = 4096
_SAMPLE_STEPS = 4
NEW_TOKENS: Mapping[str, int] = {
    **{f"forget_level{level}": SHORT for level in (1, 2, 3)},
    **{f"neighbor_level{level}": SHORT for level in (1, 2)},
    "utility_reason": LONG,
    "utility_factuality": SHORT,
    "utility_fluency": LONG,
}
"""Of the sets to which a model writes."""


@dataclass(frozen=True, kw_only=True)
class SetScores:
    """One set: an entry an item, float64.

    Attributes:
        values: ROUGE-L recall, right or wrong, F1 (all 0 to 1), or entropy in bits; of membership sets nats per token.
        kinds: Of probes, their type; else empty texts.
        others: Of membership sets, `zlib`, `min_k` and `min_k_plus`.
    """

    values: np.ndarray
    kinds: tuple[str, ...]
    others: Mapping[str, np.ndarray]

    @property
    def mean(self) -> float:
        """Over all items."""
        return float(self.values.mean())

    def by_kind(self) -> Mapping[str, tuple[int, float]]:
        """Number and mean of each kind that the data name."""
        named = np.array(self.kinds)
        return {
            kind: (int((named == kind).sum()), float(self.values[named == kind].mean()))
            for kind in dict.fromkeys(self.kinds)
            if kind
        }


def score_rwku(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: RwkuData,
    *,
    chat: bool,
    batch_rows: int = 32,
    reporter: Reporter,
) -> dict[str, SetScores]:
    """Measure one model on every set that the data have.

    Args:
        model: In eval mode.
        tokenizer: Its padding side and pad token play no part.
        data: From `read_rwku`.
        chat: Ask in the tokenizer's chat template, as the authors do.
        batch_rows: Answers that are written together.
        reporter: Hears of progress.

    Raises:
        InputError: No chat template, a model too short for an answer, or a package that is not installed.
    """
    asker = Asker(tokenizer, chat=chat)
    found = {}
    for name, items in data.sets.items():
        with reporter.task(f"RWKU: {name}") as progress:
            if name in NEW_TOKENS:
                prompts = prompts_of(asker, name, items)
                written = complete(
                    model, tokenizer, prompts, max_new_tokens=NEW_TOKENS[name], batch_rows=batch_rows, progress=progress
                )
                found[name] = SetScores(values=_judge(name, items, written), kinds=_kinds(name, items), others={})
            elif name.startswith("mia_"):
                found[name] = _membership(model, tokenizer, [item.text for item in items], progress)
            else:
                choose = _choose_letter if name == "utility_general" else _choose_truth
                values = choose(model, tokenizer, asker, items, progress)
                found[name] = SetScores(values=values, kinds=_kinds(name, items), others={})
    return found


def prompts_of(asker: Asker, name: str, items: Sequence[Any]) -> list[str]:
    """What the model reads before it writes."""
    if "level" in name:
        return [asker.probe(name, item) for item in items]
    makers: Mapping[str, Callable[[Any], str]] = {
        "utility_reason": asker.reasoning,
        "utility_factuality": asker.trivia,
        "utility_fluency": asker.instruction,
    }
    return [makers[name](item) for item in items]


def estimate_seconds(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, data: RwkuData, *, chat: bool, batch_rows: int = 32
) -> float:
    """Seconds that writing takes at most, from the first answers of the first set to which the model writes; else 0."""
    name = next((name for name in data.sets if name in NEW_TOKENS), None)
    if name is None:
        return 0.0
    asker = Asker(tokenizer, chat=chat)
    prompts = prompts_of(asker, name, data.sets[name][:batch_rows])
    started = time.perf_counter()
    complete(model, tokenizer, prompts, max_new_tokens=_SAMPLE_STEPS, batch_rows=batch_rows)
    a_token = (time.perf_counter() - started) / _SAMPLE_STEPS / len(prompts)
    return a_token * sum(NEW_TOKENS[name] * len(items) for name, items in data.sets.items() if name in NEW_TOKENS)


def check_packages(names: Sequence[str]) -> None:
    """Say before anything is computed which package is missing for these sets.

    Raises:
        InputError: One is not installed.
    """
    if any("level" in name for name in names):
        metrics.check_rouge()


def _judge(name: str, items: Sequence[Any], written: Sequence[str]) -> np.ndarray:
    """An entry an answer, of the metric that belongs to the set."""
    if "level" in name:
        return metrics.rouge_l_recall([item.answer for item in items], written)
    if name == "utility_fluency":
        return np.array([metrics.n_gram_entropy(words) for words in split_words(written)])
    if name == "utility_reason":
        pairs = [(item.answers, metrics.reasoned_answer(text)) for item, text in zip(items, written, strict=True)]
        return np.array([metrics.exact_match(answers, text) for answers, text in pairs])
    return np.array([metrics.best_f1(item.answers, text) for item, text in zip(items, written, strict=True)])


def _kinds(name: str, items: Sequence[Any]) -> tuple[str, ...]:
    return tuple(item.kind if "level" in name else "" for item in items)


def _choose_letter(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, asker: Asker, items: Sequence[Any], progress: Progress
) -> np.ndarray:
    """Whether the right letter is the most likely next token of the four (5-shot accuracy of MMLU)."""
    # The last token of a letter after a space, as the authors' code has it.
    letters = [int(tokenizer.encode(f" {letter}", add_special_tokens=False)[-1]) for letter in LETTERS]
    contexts = [encode(tokenizer, asker.multiple_choice(item)) for item in items]
    pairs: list[Pair] = [(context, [letter]) for context in contexts for letter in letters]
    sums = continuation_log_likelihoods(model, pairs, batch_tokens=BATCH_TOKENS, progress=progress)
    chosen = sums.reshape(-1, len(letters)).argmax(-1)
    return (chosen == np.array([item.answer for item in items])).astype(np.float64)


def _choose_truth(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, asker: Asker, items: Sequence[Any], progress: Progress
) -> np.ndarray:
    """Whether the right answer is more likely than every wrong one (MC1 of TruthfulQA, arXiv 2109.07958)."""
    pairs, sizes = [], []
    for item in items:
        answers = [f" {answer}" for answer in (item.right, *item.wrong)]
        pairs += encode_pairs(tokenizer, asker.truthful(item), answers)
        sizes.append(len(answers))
    sums = continuation_log_likelihoods(model, pairs, batch_tokens=BATCH_TOKENS, progress=progress)
    groups = np.split(sums, np.cumsum(sizes)[:-1])
    return np.array([float(group[0] > group[1:].max()) for group in groups])


def _membership(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], progress: Progress
) -> SetScores:
    found = token_statistics(model, tokenizer, texts, batch_tokens=BATCH_TOKENS, progress=progress)
    return SetScores(
        values=np.array([metrics.loss(one.log_probabilities) for one in found]),
        kinds=("",) * len(texts),
        others={
            "zlib": np.array(
                [metrics.zlib_entropy(one.log_probabilities, text) for one, text in zip(found, texts, strict=True)]
            ),
            "min_k": np.array([min_k_probability(one.log_probabilities, metrics.LEAST_LIKELY) for one in found]),
            "min_k_plus": np.array(
                [metrics.min_k_plus(one.log_probabilities, one.means, one.deviations) for one in found]
            ),
        },
    )
