"""Gaps in texts: the name, the number or the answer of a record that is hidden when a question is made of them.

What may be asked is what a sentence says of a name that comes before: in "Accra is the capital of Ghana" the last name
is hidden. A gap's *frame* is its sentence up to there with a mark for each name, so that gaps with one frame are of one
kind, and what fills one of them is a wrong choice for another.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from srmu.inputs.documents import Document
from srmu.inputs.names import SENTENCE_END, words_of
from srmu.runtime.stable_order import stable_rank

SHORT_ANSWER = 8
"""Words of an answer that is hidden whole; of a longer one a name in it is."""
FRAME_WORDS = 2
"""Last words of frames that count as alike where whole frames do not."""
RECORD = "{record}"
"""Frame of a whole answer of a record."""
_TOKEN = re.compile(r"[^\W_](?:[\w'\u2019.,:/-]*[^\W_])?")
_NUMBER = re.compile(r"\d[\d.,:/-]*\d")
_POSSESSIVE = re.compile(r"['\u2019]s$")
_BACK = frozenset(["it", "its", "he", "his", "him", "she", "her", "they", "their", "them", "this", "these"])
"""English words that refer to the sentence before; texts in other languages are asked sentence by sentence."""
_LEAST_WORDS = 4
"""Words before a gap in whose sentence nothing else is named."""
_LONGEST_ANSWER = 6


@dataclass(frozen=True)
class Gap:
    """One place in the texts that can be asked about.

    Attributes:
        before: What comes before, without a space at its end: the sentence so far, and the one before it where this one
            names nothing yet; of a record its question.
        answer: What is hidden.
        after: The rest of the sentence.
        about: What is named before.
        frame: What kind of answer fills it.
        question: The question of a record as it stands there; empty where there is none.
    """

    before: str
    answer: str
    after: str
    about: tuple[str, ...]
    frame: str
    question: str = ""

    @property
    def fact(self) -> str:
        """Key of the fact: the names, in either order; the question where there is one, else the sentence."""
        if self.question:
            return f"{self.question} / {self.answer}"
        return " / ".join(sorted({*self.about, self.answer})) if self.about else f"{self.before} / {self.answer}"

    @property
    def ends(self) -> bool:
        """Whether the sentence ends with the answer."""
        return not self.after.strip(" .!?\"'\u201d)")

    @property
    def sentence(self) -> str:
        """Everything, with nothing hidden."""
        return f"{self.before} {self.answer}{self.after}"


@dataclass(frozen=True)
class _Span:
    """A name or a number in a sentence."""

    start: int
    end: int


def find_gaps(documents: Iterable[Document], rare: frozenset[str]) -> list[Gap]:
    """Every gap of the texts, in their order.

    Args:
        documents: The texts.
        rare: Words that name what they are about, lower-cased (`find_rare_words`).
    """
    return [gap for document in documents for gap in _gaps_of(document, rare)]


def group_gaps(gaps: Sequence[Gap]) -> list[list[Gap]]:
    """The gaps that ask one question, in a fixed random order of the questions.

    Of the sentences that say one thing in one direction those come first that end with the answer. What goes on in
    several ways after the same words, as "My teacher asked about", is no question.
    """
    answers: dict[str, set[str]] = {}
    for gap in gaps:
        answers.setdefault(gap.before, set()).add(gap.answer)
    by_question: dict[tuple[str, str], dict[str, Gap]] = {}
    for gap in (gap for gap in gaps if len(answers[gap.before]) == 1):
        by_question.setdefault((gap.fact, gap.answer), {})[gap.before] = gap
    order = sorted(by_question, key=lambda question: stable_rank("gap", *question))
    return [sorted(by_question[question].values(), key=_preference) for question in order]


def wrong_choices(
    gap: Gap, gaps: Sequence[Gap], more: Sequence[str], count: int, *, alike_only: bool = False
) -> list[str]:
    """Answers of the same kind that are wrong, at most `count`.

    First what fills the same frame, then what fills one that ends alike, then `more`, and then other numbers or names
    of the texts. Left out is what would be right too, what the question names, and what shares a word with the answer.

    Args:
        gap: What is asked.
        gaps: All gaps of the texts.
        more: Other answers, the likeliest first.
        count: As many as are needed.
        alike_only: Take only what fills a frame that is or ends alike.
    """
    also_right = {other.answer for other in gaps if _same_question(gap, other)}
    ending = _ending(gap.frame)
    nearest = sorted(gaps, key=lambda other: _distance(gap, other))
    alike = [other for other in nearest if _has_digits(other.answer) == _has_digits(gap.answer)]
    levels = [
        [other.answer for other in nearest if other.frame == gap.frame],
        [other.answer for other in alike if _ending(other.frame) == ending],
        [*more, *(_numbers_like(gap.answer) if _NUMBER.fullmatch(gap.answer) else ())],
        [other.answer for other in alike],
    ]
    found: list[str] = []
    for answer in (answer for level in levels[: 2 if alike_only else None] for answer in level):
        if answer not in also_right and answer not in found and _differs(answer, gap):
            found.append(answer)
        if len(found) == count:
            break
    return found


def answer_in(continuation: str, gap: Gap) -> str:
    """The name or number with which a model's continuation begins, of the kind that is hidden; empty if there is none.

    Args:
        continuation: What it wrote after `gap.before`.
        gap: What is asked.
    """
    line = continuation.strip().split("\n")[0]
    if _NUMBER.fullmatch(gap.answer):
        match = _NUMBER.match(line)
        return match.group() if match else ""
    words: list[str] = []
    for match in _TOKEN.finditer(line):
        if not match.group()[0].isupper() or (words and line[: match.start()].rstrip() != " ".join(words)):
            break
        words.append(match.group())
    return " ".join(words)


def _gaps_of(document: Document, rare: frozenset[str]) -> Iterator[Gap]:
    if document.messages is not None:
        for asked, told in pairwise(document.messages):
            if (asked.role, told.role) == ("user", "assistant"):
                question = asked.content.strip()
                yield from _gaps_of_record(f"Question: {question}\nAnswer:", told.content, question, rare)
        return
    text = document.text or ""
    if document.answer_start is not None:
        asked_text, answer = text[: document.answer_start].rstrip(), text[document.answer_start :]
        yield from _gaps_of_record(asked_text, answer, (document.prompt or asked_text).strip(), rare)
        return
    for paragraph in text.split("\n"):
        sentences = [part for part in SENTENCE_END.split(paragraph.strip()) if part]
        for previous, sentence in zip(["", *sentences], sentences, strict=False):
            yield from _gaps_of_sentence(sentence, previous, rare)


def _gaps_of_record(asked: str, answer: str, question: str, rare: frozenset[str]) -> Iterator[Gap]:
    """The whole answer, or the names in its first sentence that the question does not hold."""
    answer = answer.strip()
    if len(answer.split()) > SHORT_ANSWER:
        first = SENTENCE_END.split(answer)[0]
        for gap in _gaps_of_sentence(first, asked, rare, at_start=True):
            yield replace(gap, question=question)
    elif end := len(answer.rstrip(".!?")):
        about = tuple(asked[span.start : span.end] for span in _spans(asked, rare))
        yield Gap(asked, answer[:end], answer[end:], about, RECORD, question)


def _gaps_of_sentence(sentence: str, previous: str, rare: frozenset[str], *, at_start: bool = False) -> Iterator[Gap]:
    """Gaps in one sentence; what comes before it is shown too where this one refers to it, or answers it."""
    spans = _spans(sentence, rare)
    for number, span in enumerate(spans):
        before, answer, after = sentence[: span.start], sentence[span.start : span.end], sentence[span.end :]
        about = tuple(sentence[other.start : other.end] for other in spans[:number])
        shown = before.rstrip()
        if previous and (at_start or (len(spans) == 1 and words_of(before) & _BACK)):
            about = (*(previous[other.start : other.end] for other in _spans(previous, rare)), *about)
            shown = f"{previous} {before}".rstrip()
        # Without a name before it, a gap asks only what the rest of its sentence does not name either.
        is_asked = at_start or bool(about) or (len(spans) == 1 and len(before.split()) >= _LEAST_WORDS)
        # The continuation that is scored begins with a space.
        apart = before.endswith(" ") or (at_start and not before)
        if is_asked and apart and len(answer.split()) <= _LONGEST_ANSWER and not words_of(answer) & words_of(shown):
            yield Gap(shown, answer, after, about, _frame(sentence, spans[:number], span.start))


def _spans(sentence: str, rare: frozenset[str]) -> list[_Span]:
    """Names and numbers: runs of words that are rare, with the capitalised words around them."""
    tokens = list(_TOKEN.finditer(sentence))
    spans: list[_Span] = []
    start = 0
    while start < len(tokens):
        end, named = start, False
        while end < len(tokens) and (
            end == start or sentence[tokens[end - 1].end() : tokens[end].start()] in (" ", "-")
        ):
            word = tokens[end].group()
            is_rare = bool(words_of(word) & rare)
            if not is_rare and not (word[0].isupper() and tokens[end].start() > 0 and len(word) > 1):
                break
            named, end = named or is_rare, end + 1
        if named:
            last = tokens[end - 1].group()
            stop = tokens[end - 1].end() - (len(last) - len(_POSSESSIVE.sub("", last)))
            _append(spans, _Span(tokens[start].start(), stop), sentence)
        elif end == start and _NUMBER.fullmatch(tokens[start].group()):
            spans.append(_Span(tokens[start].start(), tokens[start].end()))
        start = max(end, start + 1)
    return spans


def _append(spans: list[_Span], span: _Span, sentence: str) -> None:
    """Add a span, as part of the last one where only "of" is between them."""
    if spans and sentence[spans[-1].end : span.start] in (" of ", " of the "):
        span = _Span(spans.pop().start, span.end)
    spans.append(span)


def _frame(sentence: str, spans: Sequence[_Span], end: int) -> str:
    parts, last = [], 0
    for span in spans:
        parts += [sentence[last : span.start], "{}"]
        last = span.end
    return " ".join("".join([*parts, sentence[last:end]]).lower().split())


def _ending(frame: str) -> str:
    return " ".join(frame.split()[-FRAME_WORDS:])


def _preference(gap: Gap) -> tuple[bool, str]:
    return not gap.ends, stable_rank("sentence", gap.before, gap.answer)


def _distance(gap: Gap, other: Gap) -> tuple[bool, int, str]:
    """Of one kind first, then whose questions share most words, then a fixed random order."""
    shared = len(words_of(gap.question) & words_of(other.question))
    unlike = _has_digits(gap.answer) != _has_digits(other.answer)
    return unlike, -shared, stable_rank(gap.fact, gap.answer, other.answer)


def _has_digits(text: str) -> bool:
    return any(character.isdigit() for character in text)


def _same_question(gap: Gap, other: Gap) -> bool:
    if gap.question:
        return other.question == gap.question
    return other.frame == gap.frame and bool(set(other.about) & set(gap.about))


def _differs(answer: str, gap: Gap) -> bool:
    """Whether an answer can be told from the right one, and is not named in the question."""
    if not answer or answer.casefold() == gap.answer.casefold() or answer in gap.about:
        return False
    shared = words_of(answer) & words_of(gap.answer)
    # Whole answers have ordinary words in common.
    return len(shared) < len(words_of(answer) | words_of(gap.answer)) / 2 if gap.frame == RECORD else not shared


def _numbers_like(number: str) -> list[str]:
    """Numbers of the same form: the later half of the digits is drawn anew, a digit for a digit."""
    digits = [place for place, character in enumerate(number) if character.isdigit()]
    drawn = digits[len(digits) // 2 :]
    made = []
    for turn in range(8):
        rank = stable_rank("number", number, turn)
        characters = list(number)
        for place, value in zip(drawn, rank, strict=False):
            characters[place] = str(int(value, 16) % 10)
        made.append("".join(characters))
    return made
