"""TOFU's forgotten questions put in forms that no one trained on: does what is forgotten in one form leak in another?

That a change of the input's form brings forgotten answers back is shown in arXiv 2411.15477 on TOFU; its transformed
data are not part of TOFU, so the forms here are made of TOFU's own fields. The number of a form is the mean
length-normalised probability of the answer, of `multiple_choice` how often the right letter is the likeliest.
"""

from collections.abc import Mapping, Sequence
from string import ascii_uppercase

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srmu.evaluation.benchmarks.tofu_data import TofuQuestion
from srmu.evaluation.benchmarks.tofu_losses import answer_losses
from srmu.evaluation.benchmarks.tofu_metrics import probability
from srmu.evaluation.benchmarks.tofu_prompt import TofuPrompt, encode_answer
from srmu.evaluation.encoding import encode_pairs
from srmu.evaluation.prefix_trees import Pair
from srmu.runtime.progress import Reporter

_BARE = TofuPrompt(question_start="", question_end="\n", answer_start="")
_DIALOGUE = TofuPrompt(question_start="User: ", question_end="\n", answer_start="Assistant: ")
CHOICES = "multiple_choice"


def score_formats(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[TofuQuestion],
    *,
    prompt: TofuPrompt,
    reporter: Reporter,
) -> dict[str, float]:
    """The number of each form, 0 to 1.

    Args:
        model: In eval mode.
        tokenizer: Of the model.
        questions: The forgotten ones.
        prompt: How they are usually put; `paraphrase` keeps its tags and asks in other words.
        reporter: Hears of progress.

    Raises:
        InputError: An answer does not fit the model, or the model's losses are not finite.
    """
    pairs: dict[str, list[Pair]] = {
        "paraphrase": [encode_answer(tokenizer, prompt, entry.paraphrase, entry.answer) for entry in questions],
        "bare": [encode_answer(tokenizer, _BARE, entry.question, entry.answer) for entry in questions],
        "dialogue": [encode_answer(tokenizer, _DIALOGUE, entry.question, entry.answer) for entry in questions],
        CHOICES: [pair for place, entry in enumerate(questions) for pair in _lettered(tokenizer, entry, place)],
    }
    with reporter.task("TOFU: other forms") as progress:
        flat = answer_losses(model, [pair for group in pairs.values() for pair in group], progress=progress)
    by_form = dict(zip(pairs, np.split(flat, np.cumsum([len(group) for group in pairs.values()])[:-1]), strict=True))
    letters = by_form.pop(CHOICES).reshape(len(questions), -1)
    right = [_right_place(entry, place) for place, entry in enumerate(questions)]
    found = {name: float(probability(losses).mean()) for name, losses in by_form.items()}
    return {**found, CHOICES: float((letters.argmin(axis=1) == np.array(right)).mean())}


def format_leakage(result: Mapping[str, float], gold: Mapping[str, float]) -> float:
    """How much better forgotten answers are known than by the retrained model, in the form where it is most.

    Args:
        result: By form, 0 to 1.
        gold: The same of the retrained model.

    Returns:
        -1 to 1; 0 or below: in no form is more known than the retrained model knows.
    """
    return max(result[name] - gold[name] for name in result)


def _lettered(tokenizer: PreTrainedTokenizerBase, entry: TofuQuestion, place: int) -> list[Pair]:
    """The question with lettered answers, and each letter after it."""
    answers = list(entry.wrong)
    answers.insert(_right_place(entry, place), entry.right)
    letters = ascii_uppercase[: len(answers)]
    choices = "\n".join(f"{letter}. {answer}" for letter, answer in zip(letters, answers, strict=True))
    return encode_pairs(tokenizer, f"{entry.question}\n{choices}\nAnswer:", [f" {letter}" for letter in letters])


def _right_place(entry: TofuQuestion, place: int) -> int:
    """Every letter is right equally often, so that a preference for one helps nobody."""
    return place % (1 + len(entry.wrong))
