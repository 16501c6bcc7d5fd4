"""Adversarial words found by gradient: a string that is put to every question and makes the right answers likely.

Definition: ten words, each a single token, behind every question (a suffix) or before it (the same search, where a
question is the opening of a sentence that a suffix would break); of the two places the one where random words cost the
base less on the given half. A step takes four given questions, ranks the replacements of each word by the gradient of
the loss of the right answers in the words' embeddings, draws candidates that change one word among the 64 best of its
place, and keeps the one with the smallest loss if that is smaller than before. The tested half is asked with the words
as text. The base goes through the same search with the same steps and seed, and the worst of the stops counts at which
it keeps its accuracy. Words that are part of a forgotten answer are not searched: a string that says the answers
finds nothing. Control: the same search on the result for answers that were never true, after all steps: what it
brings is the search's, not knowledge. Source: arXiv 2307.15043 (GCG: 20 tokens, 256 best, 512 candidates, 500 steps;
abstract and published code known, not read again for this). Whole words, so that the string can be typed, the place,
the small numbers and the halves are ours. Budget: quick 10 steps of 16 candidates, full 50 of 32. Cost: a backward pass
on four rows and forward passes on four times the candidates, a step and search; three searches.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.fine_tuning import endless_batches
from srmu.evaluation.attacks.measured import Measured, measure
from srmu.evaluation.attacks.outcome import NotApplicable
from srmu.evaluation.attacks.setting import SIDES, AttackSetting, fact_of, right_answer
from srmu.evaluation.attacks.soft_prompt import answer_loss, soft_prompted
from srmu.evaluation.attacks.statements import wrong_answers
from srmu.evaluation.attacks.sweeps import record_of_sweep
from srmu.evaluation.encoding import encode_pairs, start_token_id
from srmu.evaluation.prefix_trees import continuation_log_likelihoods
from srmu.inputs.questions import Question
from srmu.results.attack_records import AttackRecord, Control

NUM_WORDS = 10
BEST_REPLACEMENTS = 64
ROWS_A_STEP = 4
_BATCH_TOKENS = 4096
_LEAST_PART = 3
"""Characters from which on a word may be told as a part of an answer."""
Place = Literal["behind", "before"]
PLACES: tuple[Place, ...] = ("behind", "before")


def gcg(setting: AttackSetting, cells: Cells) -> AttackRecord:
    """The worst of the steps at which the base keeps its accuracy."""
    answers = {right_answer(question) for question in (*setting.given, *setting.tested)}
    vocabulary = Vocabulary.of(setting.tokenizer, answers)
    start = vocabulary.draw(setting.seed)
    place = best_place(setting, vocabulary.text(start))
    rights = {fact_of(question): right_answer(question) for question in setting.given}
    found = {side: _search(setting, side, vocabulary, start, place, rights) for side in SIDES}
    wrongs = wrong_answers(setting.given, avoid={right_answer(question) for question in setting.tested})
    control = _search(setting, "result", vocabulary, start, place, wrongs)[setting.budget.search_steps[-1]]
    after = {float(step): {side: found[side][step] for side in SIDES} for step in setting.budget.search_steps}
    settings = {"words": NUM_WORDS, "place": place, "candidates": setting.budget.search_candidates}
    about = Control(model="result, searched for answers that were never true", forget=control.forget, kept=control.kept)
    return record_of_sweep(setting, cells, "steps of search", after, settings=settings, control=about)


@dataclass(frozen=True)
class Vocabulary:
    """The words that a search chooses from.

    Attributes:
        words: Their texts; each is one token behind a space.
        token_ids: Theirs.
    """

    words: tuple[str, ...]
    token_ids: Int[Tensor, " words"]

    @classmethod
    def of(cls, tokenizer: Any, answers: Collection[str] = ()) -> "Vocabulary":
        """All printable ASCII words that are one token of the tokenizer, and no part of these answers.

        Raises:
            NotApplicable: There are too few.
        """
        special = set(tokenizer.all_special_ids)
        texts = {
            number: tokenizer.decode([number]).strip() for number in range(len(tokenizer)) if number not in special
        }
        texts = {number: text for number, text in texts.items() if text.isascii() and text.isprintable() and text}
        said = " ".join(answers).lower()
        texts = {number: text for number, text in texts.items() if len(text) < _LEAST_PART or text.lower() not in said}
        lead = len(tokenizer.encode("a"))
        encoded = tokenizer([f"a {text}" for text in texts.values()])["input_ids"] if texts else []
        own = {
            text: number
            for (number, text), token_ids in zip(texts.items(), encoded, strict=True)
            if list(token_ids[lead:]) == [number]
        }
        if len(own) < 2:
            raise NotApplicable("hardly any word is a single token of this tokenizer")
        return cls(tuple(own), torch.tensor(list(own.values())))

    def draw(self, seed: int) -> list[int]:
        """Places of the first words, drawn at random."""
        generator = torch.Generator().manual_seed(seed)
        drawn: list[int] = torch.randint(len(self.words), (NUM_WORDS,), generator=generator).tolist()
        return drawn

    def text(self, chosen: Sequence[int]) -> str:
        """The words at these places as a string."""
        return " ".join(self.words[number] for number in chosen)


def with_words(questions: Sequence[Question], words: str, place: Place) -> list[Question]:
    """The questions with the words put to them."""
    template = "{prompt} {words}" if place == "behind" else " {words} {prompt}"
    return [replace(question, prompt=template.format(prompt=question.prompt, words=words)) for question in questions]


def best_place(setting: AttackSetting, words: str) -> Place:
    """Where these words cost the base less of its accuracy on the given half."""
    model = setting.subjects["base"].model()

    def accuracy(place: Place) -> float:
        return setting.ask(model, with_words(setting.choosing, words, place)).accuracy

    return max(PLACES, key=accuracy)


@dataclass(frozen=True)
class Row:
    """Token ids around the words of one question, and those of the answer that is sought."""

    left: list[int]
    right: list[int]
    answer: list[int]

    def pair(self, words: Sequence[int]) -> tuple[list[int], list[int]]:
        """Context and answer with these token ids for the words."""
        return [*self.left, *words, *self.right], self.answer


def rows_of(
    tokenizer: Any, questions: Sequence[Question], words: str, place: Place, answers: dict[str, str]
) -> list[Row]:
    """A row per question, cut at the words.

    Args:
        tokenizer: Encodes whole texts, as they are asked.
        questions: Of the given half.
        words: As many as are searched for, each a single token.
        place: Where they are.
        answers: Sought, by fact.
    """
    rows = []
    for question, asked in zip(questions, with_words(questions, words, place), strict=True):
        ((context, answer),) = encode_pairs(tokenizer, asked.prompt, [" " + answers[fact_of(question)]])
        start = 1 if context[:1] == [start_token_id(tokenizer)] else 0
        first = start if place == "before" else len(context) - NUM_WORDS
        rows.append(Row(context[:first], context[first + NUM_WORDS :], answer))
    return rows


def _search(
    setting: AttackSetting,
    side: str,
    vocabulary: Vocabulary,
    start: Sequence[int],
    place: Place,
    answers: dict[str, str],
) -> dict[int, Measured]:
    """What a model knows with the words that were found after each stop."""
    for subject in setting.subjects.values():
        subject.drop()
    model = setting.subjects[side].fresh().requires_grad_(False)
    rows = rows_of(setting.tokenizer, setting.given, vocabulary.text(start), place, answers)
    batches = endless_batches(rows, setting.seed, ROWS_A_STEP)
    generator = torch.Generator().manual_seed(setting.seed)
    steps, words, found = setting.budget.search_steps, list(start), {}
    with setting.reporter.task(f"Words found by gradient, {side}") as progress:
        for step in range(1, steps[-1] + 1):
            batch = next(batches)
            scores = replacement_scores(model, batch, vocabulary, words)
            candidates = draw_candidates(words, scores, setting.budget.search_candidates, generator)
            losses = candidate_losses(model, batch, vocabulary, [words, *candidates])
            words = [words, *candidates][int(losses.argmin())]
            if step in steps:
                text = vocabulary.text(words)
                kept = {name: with_words(group, text, place) for name, group in setting.kept.items()}
                found[step] = measure(setting, model, with_words(setting.tested, text, place), kept)
            progress(step, steps[-1])
    return found


def replacement_scores(
    model: Any, rows: Sequence[Row], vocabulary: Vocabulary, words: Sequence[int]
) -> Float[Tensor, "places words"]:
    """How much the loss falls, to first order, if the word at a place becomes another one; up to a constant a place."""
    embedding = model.get_input_embeddings()
    token_ids = vocabulary.token_ids.to(embedding.weight.device)
    choices = embedding(token_ids).detach()
    vectors = nn.Parameter(choices[list(words)].clone())
    with soft_prompted(model, vectors) as first_id:
        answer_loss(model, [row.pair(range(first_id, first_id + NUM_WORDS)) for row in rows]).backward()
    assert vectors.grad is not None
    return -(vectors.grad.float() @ choices.float().T).cpu()


def draw_candidates(
    words: Sequence[int], scores: Float[Tensor, "places words"], count: int, generator: torch.Generator
) -> list[list[int]]:
    """The words with one of them replaced, the place and one of its best replacements drawn at random."""
    best = scores.topk(min(BEST_REPLACEMENTS, scores.shape[1]), dim=1).indices
    candidates = []
    for _ in range(count):
        place = int(torch.randint(len(words), (1,), generator=generator))
        choice = int(torch.randint(best.shape[1], (1,), generator=generator))
        candidates.append([*words[:place], int(best[place, choice]), *words[place + 1 :]])
    return candidates


def candidate_losses(
    model: Any, rows: Sequence[Row], vocabulary: Vocabulary, candidates: Sequence[Sequence[int]]
) -> np.ndarray:
    """Nats of all rows' answers, per candidate."""
    pairs = [row.pair(vocabulary.token_ids[list(words)].tolist()) for words in candidates for row in rows]
    sums = continuation_log_likelihoods(model, pairs, batch_tokens=_BATCH_TOKENS)
    return np.asarray(-sums.reshape(len(candidates), len(rows)).sum(1))
