"""Questions that srmu makes from texts with the help of the base model, for users who have none.

A name, a number or a record's answer is hidden (`inputs/gaps.py`). The base is asked twice: with a sentence up to the
gap, and with a question. The question is one that the base wrote itself, if it says nothing that the sentence does not
say; or the sentence with "what" or with a blank in the place of the answer (cloze translation, Lewis et al. 2019, arXiv
1906.04980). Of several, that is taken after which the base holds the answer most likely (round-trip consistency,
Alberti et al. 2019, arXiv 1906.05416). Only what it answers right both times is known, and can be seen to be forgotten.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from srmu.evaluation.completions import complete
from srmu.evaluation.encoding import encode_pairs
from srmu.evaluation.prefix_trees import continuation_log_likelihoods
from srmu.evaluation.questions import score_questions
from srmu.inputs.documents import Document
from srmu.inputs.gaps import Gap, answer_in, find_gaps, group_gaps, wrong_choices
from srmu.inputs.general import general_paragraphs
from srmu.inputs.generation import Writer
from srmu.inputs.names import find_rare_words, words_of
from srmu.inputs.questions import Question, place_answer
from srmu.results.significance import binomial_tail
from srmu.runtime.progress import Reporter

NUM_WRONG = 3
CHANCE = 1 / (1 + NUM_WRONG)
BY_CHANCE = 0.01
"""Below this probability, right answers are no guesses."""
MOST_FACTS = 100
_ALTERNATIVES, _ALTERNATIVE_TOKENS = 8, 10
_BATCH_TOKENS = 4096
_SENTENCES, _QUESTION_TOKENS, _LONGEST_QUESTION = 3, 32, 40
_ASKING = frozenset(
    ["what", "which", "when", "where", "whose", "whom", "does", "many", "much", "long", "called", "named", "name"]
)
_WRITING = """Text: The Danube flows into the Black Sea.
Answer: Black Sea
Question: Which sea does the Danube flow into?

Text: Marie Curie was born in Warsaw in 1867.
Answer: 1867
Question: In which year was Marie Curie born?

Text: Ruth Berg is the chairwoman of the club.
Answer: Ruth Berg
Question: Who is the chairwoman of the club?

Text: {text}
Answer: {answer}
Question:"""
Form = Literal["cloze", "question", "what", "blank"]


@dataclass(frozen=True)
class Way:
    """A way of asking for what a gap hides.

    Attributes:
        gap: What is hidden.
        form: How it asks: up to the gap (`cloze`), in the base's words (`question`), with "what" (`what`) or a blank
            (`blank`) in the gap.
        prompt: The text before the answer.
    """

    gap: Gap
    form: Form
    prompt: str


@dataclass(frozen=True)
class MadeItem:
    """One fact of the texts, asked twice.

    Attributes:
        forms: How each question asks, see `Way`.
        questions: One for each form, with the same choices in other orders.
        known: Whether the base answers both right.
    """

    forms: tuple[Form, Form]
    questions: tuple[Question, Question]
    known: bool


@dataclass(frozen=True)
class MadeQuestions:
    """What was made of texts.

    Attributes:
        items: Every fact that was asked, known or not.
        found: Facts in the texts that could be asked.
        without_choices: Of those that were tried, facts for which there were no three wrong answers.
    """

    items: tuple[MadeItem, ...]
    found: int
    without_choices: int

    @property
    def known(self) -> tuple[MadeItem, ...]:
        """What the base knows."""
        return tuple(item for item in self.items if item.known)

    @property
    def beyond_chance(self) -> bool:
        """Whether the base knows more than one who sees the choices alone could guess.

        Who prefers the same choice in both forms is right in both as often as in one, so chance is a quarter.
        """
        return bool(self.items) and binomial_tail(len(self.known), len(self.items), CHANCE) < BY_CHANCE


def make_questions(
    model: Any,
    tokenizer: Any,
    documents: Sequence[Document],
    *,
    limit: int = MOST_FACTS,
    seed: int = 0,
    chat: bool = False,
    reporter: Reporter,
) -> MadeQuestions:
    """Make four-choice questions of texts, and ask the base for them.

    Args:
        model: The base, whole, in eval mode.
        tokenizer: Its tokenizer.
        documents: The texts, of which those with answers give their questions.
        limit: Most facts.
        seed: Of what the base writes; the same seed gives the same questions on one machine.
        chat: Ask in the chat template, as a run with `--chat` does.
        reporter: Hears of progress.
    """
    texts = [document.as_text() for document in documents]
    gaps = find_gaps(documents, find_rare_words(texts, general_paragraphs(), tokenizer))
    groups = group_gaps(gaps)
    with reporter.task("Making questions") as progress:
        sentences = [[Way(gap, "cloze", gap.before) for gap in same[:_SENTENCES]] for same in groups[:limit]]
        clozes = _likeliest(model, tokenizer, sentences)
        progress(1, 4)
        choices = _choices(model, tokenizer, [way.gap for way in clozes], gaps, seed)
        clozes = [way for way in clozes if way.gap in choices]
        progress(2, 4)
        seconds = _likeliest(model, tokenizer, _questions(model, tokenizer, [way.gap for way in clozes]))
        progress(3, 4)
        pairs = list(zip(clozes, seconds, strict=True))
        asked = [_as_question(way, choices[way.gap]) for pair in pairs for way in pair]
        right: Sequence[bool] = []
        if asked:
            right = score_questions(model, tokenizer, asked, chat=chat).correct_norm.tolist()
        progress(4, 4)
    items = [
        MadeItem(
            (pair[0].form, pair[1].form),
            (asked[2 * number], asked[2 * number + 1]),
            bool(right[2 * number] and right[2 * number + 1]),
        )
        for number, pair in enumerate(pairs)
    ]
    return MadeQuestions(tuple(items), len(groups), len(sentences) - len(items))


def _likeliest(model: Any, tokenizer: Any, options: Sequence[Sequence[Way]]) -> list[Way]:
    """Of the ways of asking for each gap the one after which the model holds the answer most likely."""
    ways = [way for some in options for way in some]
    if not ways:
        return []
    pairs = [pair for way in ways for pair in encode_pairs(tokenizer, way.prompt, [f" {way.gap.answer}"])]
    likely = continuation_log_likelihoods(model, pairs, batch_tokens=_BATCH_TOKENS)
    best: dict[int, tuple[float, Way]] = {}
    groups = [number for number, some in enumerate(options) for _ in some]
    for number, way, value in zip(groups, ways, likely, strict=True):
        if number not in best or value > best[number][0]:
            best[number] = (float(value), way)
    return [best[number][1] for number in range(len(options))]


def _choices(
    model: Any, tokenizer: Any, tried: Sequence[Gap], gaps: Sequence[Gap], seed: int
) -> dict[Gap, tuple[str, ...]]:
    """Three wrong answers for each gap that has so many; the base's own alternatives where the texts have none."""
    found = {gap: wrong_choices(gap, gaps, (), NUM_WRONG, alike_only=True) for gap in tried}
    missing = [gap for gap, wrong in found.items() if len(wrong) < NUM_WRONG]
    prompts = [gap.before for gap in missing for _ in range(_ALTERNATIVES)]
    said = Writer(model, tokenizer, seed, len(prompts)).write(prompts, _ALTERNATIVE_TOKENS)
    for number, gap in enumerate(missing):
        others = [answer_in(text, gap) for text in said[number * _ALTERNATIVES : (number + 1) * _ALTERNATIVES]]
        found[gap] = wrong_choices(gap, gaps, others, NUM_WRONG)
    return {gap: tuple(wrong) for gap, wrong in found.items() if len(wrong) == NUM_WRONG}


def _questions(model: Any, tokenizer: Any, gaps: Sequence[Gap]) -> list[list[Way]]:
    """For each gap the questions that ask for it."""
    plain = [gap for gap in gaps if not gap.question]
    prompts = [_WRITING.format(text=gap.sentence, answer=gap.answer) for gap in plain]
    said = dict(zip(plain, complete(model, tokenizer, prompts, max_new_tokens=_QUESTION_TOKENS), strict=True))
    return [_questions_of(gap, said.get(gap, "")) for gap in gaps]


def _questions_of(gap: Gap, said: str) -> list[Way]:
    if gap.question:
        return [Way(gap, "question", f"Q: {gap.question}\nA:")]
    ways = [Way(gap, "blank", f"Fill in the blank. {gap.before} ____{gap.after}\nAnswer:")]
    if gap.ends:
        ways.append(Way(gap, "what", f"Question: {gap.before} what?\nAnswer:"))
    if written := written_question(said, gap):
        ways.append(Way(gap, "question", f"Question: {written}\nAnswer:"))
    return ways


def written_question(said: str, gap: Gap) -> str:
    """The question with which a model's continuation begins; empty where it is none that asks for what is hidden.

    It must name something that the sentence names, say something of it that the sentence says, and nothing else.
    """
    line, mark, _ = said.split("\n")[0].partition("?")
    text = " ".join(line.split()) + mark
    words, told = words_of(text), words_of(gap.before + gap.after)
    if not mark or len(text.split()) > _LONGEST_QUESTION or words & words_of(gap.answer):
        return ""
    if gap.answer in re.findall(r"[\w.,:/-]*\w", text):
        return ""
    named = frozenset(word for name in gap.about for word in words_of(name))
    says = frozenset(word for word in words - named - _ASKING if len(word) > 3)
    return text if (words & named or not named) and says and says <= told else ""


def _as_question(way: Way, wrong: tuple[str, ...]) -> Question:
    gap = way.gap
    choices, place = place_answer(gap.answer, wrong, gap.fact, gap.answer, way.form)
    return Question(prompt=way.prompt, choices=choices, answer=place, fact=gap.fact, machine_made=True)
