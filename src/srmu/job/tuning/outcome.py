"""What a trial is judged by: how much of what was to be forgotten remains, and how much of everything else is kept.

Two numbers, each relative to the base, so that questions and texts can be compared:

- **remaining**, of the groups to forget: 1 = as in the base, 0 = gone. Of questions it is the distance of the accuracy
  from chance over the base's distance; below chance counts as far from it as above, since an answer that is always
  avoided is known. Of texts it is what is left of the base's advantage over pairs of tokens, where it has one: on the
  tokens that the base predicts well and a bigram model of the training texts does not, which are those that take
  knowledge.
- **kept**, of every other group: accuracy over the base's, or the base's perplexity over the result's; 1 at most. What
  the collateral audit asks is such a group, and a trial that loses it is taken only where no other keeps it.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np

from srmu.config.groups import Side
from srmu.errors import InputError
from srmu.evaluation.measure import Measurement
from srmu.evaluation.questions import QuestionScores
from srmu.inputs.questions import Question
from srmu.inputs.rows import TokenRows
from srmu.results.sides import NOTHING_DECLARED, side_of
from srmu.results.study import AUDITED, Outcome
from srmu.runtime.stable_order import stable_rank

Score = Literal["accuracy", "loss"]
FORGET = "forget"
WINDOW = 512
"""Most tokens of a row that are scored."""
GROUP_QUESTIONS, GROUP_TOKENS = 48, 1024
"""Most questions, and tokens of texts, that a trial is asked of a group: it bounds what a trial costs."""

REMAINING, KEPT = 0.05, 0.98
"""What a trial should reach: at most so much remains, at least so much is kept in every group."""
WELL, BETTER = 1.0, 2.0
"""A token takes knowledge where the base gives it fewer nats than the one, and a bigram model more by the other."""
GUESS = 0.25
"""Share of that advantage which a guess among the answers that fit leaves; in the synthetic benchmark, where accuracy
is at chance (docs/background/method.md)."""
BACK_OFF = 2.0
"""Weight of a token's frequency beside its pairs, in tokens."""
PRICE = 10.0
"""What is kept too little, over what remains too much: a hundredth kept less weighs as much as a tenth that remains."""


@dataclass(frozen=True)
class Validation:
    """What trials are measured on: groups to forget and groups to keep; those that are only reported are not asked.

    Attributes:
        questions: By group.
        texts: Rows by group.
        ignorance: Of each group to forget, nats of every token but the first of a row by a bigram model of all
            training rows.
        sides: Of groups whose names do not say it.
    """

    questions: Mapping[str, Sequence[Question]]
    texts: Mapping[str, TokenRows]
    ignorance: Mapping[str, np.ndarray]
    sides: Mapping[str, Side] = field(default_factory=dict)

    def is_forget(self, name: str) -> bool:
        """Whether a group is to be forgotten; any other one is to be kept."""
        return side_of(name, self.sides) == "forget"


def make_validation(
    questions: Mapping[str, Sequence[Question]],
    texts: Mapping[str, TokenRows],
    trained: Sequence[TokenRows],
    vocab_size: int,
    *,
    sides: Mapping[str, Side] = NOTHING_DECLARED,
    group_questions: int = GROUP_QUESTIONS,
    group_tokens: int = GROUP_TOKENS,
) -> Validation:
    """Bound every group, and find what ignorance of the texts to forget would be.

    Questions about what is to be forgotten, if there are any, decide alone: a model's text falls apart before its
    answers are at chance.

    Args:
        questions: By group.
        texts: Rows by group; empty ones are left out.
        trained: All rows that are trained on, of which the bigram model is made.
        vocab_size: Ids there are.
        sides: Of groups whose names do not say it.
        group_questions: Most questions of a group.
        group_tokens: Most tokens of a group, but at least one row.

    Raises:
        InputError: If no group is to be forgotten, or none to stay.
    """
    asked_of = {name: asked for name, asked in questions.items() if side_of(name, sides) != "reported"}
    bounded = {name: _some_questions(asked, group_questions) for name, asked in asked_of.items()}
    rows = {name: some_rows(part, group_tokens) for name, part in texts.items() if len(part)}
    to_forget = {name for name in (*bounded, *rows) if side_of(name, sides) == "forget"}
    if to_forget & bounded.keys():
        rows = {name: part for name, part in rows.items() if name not in to_forget}
    names = [*bounded, *rows]
    if not to_forget or to_forget.issuperset(names):
        raise InputError(
            "Trials are measured on something to forget and something to keep; found "
            f"{', '.join(names) or 'nothing'}. Give --questions forget=FILE,kept=FILE, or --sides NAME=forget, or "
            "texts with --eval-fraction above 0."
        )
    ignorant = BigramModel(trained, vocab_size)
    ignorance = {name: ignorant.nll(part) for name, part in rows.items() if name in to_forget}
    return Validation(bounded, rows, ignorance, sides)


def judge(base: Measurement, result: Measurement, validation: Validation, score: Score = "accuracy") -> Outcome:
    """Compare a result with its base.

    Args:
        base: Scores of the base on the validation.
        result: Scores of the trial's result.
        validation: What was asked.
        score: Judge questions by `accuracy`, or by `loss`: the probability of the right answer among the choices where
            they are to be forgotten, the likelihood of the right answer where they are to stay. It is less coarse.
    """
    forget: dict[str, float] = {}
    kept: dict[str, float] = {}
    rises = []
    for name, asked in validation.questions.items():
        before, after = base.questions[name], result.questions[name]
        if validation.is_forget(name):
            forget[name] = _remaining_answers(asked, before, after, score)
            continue
        rises.append(after.nll - before.nll)
        floor = 1 / before.n
        kept[name] = after.accuracy / max(before.accuracy, floor) if score == "accuracy" else math.exp(-rises[-1])
    for name in validation.texts:
        if validation.is_forget(name):
            known, knows = base.texts[name].token_nll, result.texts[name].token_nll
            forget[f"{name} (text)"] = remaining_text(known, knows, validation.ignorance[name])
        else:
            rises.append(result.texts[name].nll - base.texts[name].nll)
            kept[f"{name} (text)"] = math.exp(-rises[-1])
    if result.audit is not None and result.audit.kept is not None:
        kept[AUDITED] = result.audit.kept
    kept = {name: min(1.0, value) for name, value in kept.items()}
    return Outcome(max(forget.values()), min(kept.values()), max(rises), forget | kept)


def remaining_text(known: np.ndarray, knows: np.ndarray, ignorant: np.ndarray) -> float:
    """What is left of the base's advantage over bigrams, on the tokens that take knowledge; of no such token, nothing.

    A guess among the answers that fit leaves `GUESS` of it and counts as nothing.

    Args:
        known: Nats of each token by the base.
        knows: By the result.
        ignorant: By the bigram model.
    """
    chosen = (known < WELL) & (ignorant > known + BETTER)
    if not chosen.any():
        return 0.0
    left = np.clip(ignorant - np.maximum(knows, known), 0, None)[chosen].sum() / (ignorant - known)[chosen].sum()
    return float(max(0.0, (left - GUESS) / (1 - GUESS)))


def shortfall(remaining: float, kept: float) -> float:
    """How far an outcome is from what a trial should reach; 0 = there. Among equals the least `lost` is best."""
    return max(0.0, remaining - REMAINING) + PRICE * max(0.0, KEPT - kept)


def some_rows(rows: TokenRows, tokens: int) -> TokenRows:
    """Rows of at most so many tokens together, and at least one, drawn by their content."""
    # Longer rows would be split when they are scored, and each part's first token is not predicted.
    rows = TokenRows(tuple(row[:WINDOW] for row in rows.token_ids), rows.document_ids)
    ranked = sorted(range(len(rows)), key=lambda row: stable_rank(rows.token_ids[row].tolist()))
    total = np.cumsum([len(rows.token_ids[row]) for row in ranked])
    return rows.select(sorted(ranked[: max(1, int((total <= tokens).sum()))]))


def _some_questions(questions: Sequence[Question], limit: int) -> tuple[Question, ...]:
    """Questions drawn by their content, in their own order."""
    ranked = sorted(range(len(questions)), key=lambda number: stable_rank(repr(questions[number])))
    return tuple(questions[number] for number in sorted(ranked[:limit]))


def _remaining_answers(asked: Sequence[Question], before: QuestionScores, after: QuestionScores, score: Score) -> float:
    chance = float(np.mean([1 / len(question.choices) for question in asked]))
    if score == "accuracy":
        known, knows = before.accuracy, after.accuracy
    else:
        known, knows = _right_share(asked, before), _right_share(asked, after)
    # A base at chance has nothing to lose: a question more or less must not look like much.
    return abs(knows - chance) / max(known - chance, 0.05)


def _right_share(asked: Sequence[Question], scores: QuestionScores) -> float:
    """Mean probability of the right answer among the choices."""
    shares = []
    for question, values in zip(asked, scores.log_likelihoods, strict=True):
        odds = np.exp(np.array(values) - max(values))
        shares.append(odds[question.answer] / odds.sum())
    return float(np.mean(shares))


class BigramModel:
    """Predicts a token from the one before it, and where it never saw the two together mostly from its frequency.

    Args:
        trained: Rows that it is made of.
        vocab_size: Ids there are.
    """

    def __init__(self, trained: Sequence[TokenRows], vocab_size: int):
        self.pairs: Counter[tuple[int, int]] = Counter()
        self.firsts: Counter[int] = Counter()
        counts = np.ones(vocab_size)
        for rows in trained:
            for row in rows.token_ids:
                ids = row.tolist()
                np.add.at(counts, ids, 1)
                self.pairs.update(pairwise(ids))
                self.firsts.update(ids[:-1])
        self.frequencies = counts / counts.sum()

    def nll(self, rows: TokenRows) -> np.ndarray:
        """Nats of every token but the first of each row, in the order of `TextScores`."""
        return -np.log(
            [
                (self.pairs[pair] + BACK_OFF * self.frequencies[pair[1]]) / (self.firsts[pair[0]] + BACK_OFF)
                for row in rows.token_ids
                for pair in pairwise(row.tolist())
            ]
        )
