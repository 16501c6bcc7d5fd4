"""Retain texts near the forget texts, written by the base model: what a user's retain texts seldom cover.

Three sorts. *Siblings*: what the base writes after the words that come before the names in the forget texts ("The
capital of"), where it names something else: others of the same kind. *Unanswered*: forget sentences with a sibling's
name in the place of theirs, cut before what they say of it; the retain loss holds activations, so a row needs no true
answer. *Elsewhere*: the names of the forget texts in other contexts, continued by the base: what else it knows of them.

None of them holds what is to be forgotten: a text with a rare word of the forget texts is dropped, but for the name
that *elsewhere* is about. What repeats itself, was said before, or is less likely to the base than half of what it
wrote of its sort, is dropped too (`judged_texts.py`).
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srmu.inputs.general import general_paragraphs
from srmu.inputs.generation import Writer
from srmu.inputs.judged_texts import FORGET_WORDS, Judgement, keep_sensible
from srmu.inputs.names import FREQUENT, SENTENCE_END, end_of_name, find_names, find_rare_words, first_rare, words_of

CONTEXTS = (
    "{name}", "In {name},", "The people of {name}", "{name} is known for", "I have read about {name}.",
    "A story from {name}:", "Q: What can you tell me about {name}?\nA:", "{name} and its",
)  # fmt: skip
"""Beginnings of texts about a name that say nothing of it."""
SIBLING_TOKENS, ELSEWHERE_TOKENS = 14, 16
_NAME = re.compile(r"\s*((?:the )?[^\W\d_a-z][\w'-]+(?: [^\W\d_a-z][\w'-]+)*)")
_PREFIXES_WITHOUT_FREQUENT = 50

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class NearTexts:
    """What the base wrote.

    Attributes:
        siblings: Sentences about others of the kind.
        unanswered: Forget sentences about others, cut before the answer.
        elsewhere: The forget texts' names in other contexts.
        names: Siblings' names that were found, the most frequent first.
        judgement: What became of what the base wrote for the first and the third sort.
    """

    siblings: tuple[str, ...]
    unanswered: tuple[str, ...]
    elsewhere: tuple[str, ...]
    names: tuple[str, ...]
    judgement: Judgement


def write_near_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    forget_texts: Sequence[str],
    *,
    siblings: int = 600,
    unanswered: int = 1500,
    per_name: int = 4,
    seed: int,
    progress: Progress | None = None,
) -> NearTexts:
    """Let the base write retain texts near the forget texts.

    Args:
        model: The base, whole, in eval mode.
        tokenizer: Its tokenizer.
        forget_texts: What is to be forgotten.
        siblings: Sentences that are sampled for the first sort; fewer remain.
        unanswered: Most texts of the second sort.
        per_name: Contexts in which each name occurs, of the third sort.
        seed: The same seed gives the same texts on one machine.
        progress: Called with texts sampled and texts to sample.
    """
    rare = find_rare_words(forget_texts, general_paragraphs(), tokenizer)
    sentences = [part for text in forget_texts for part in SENTENCE_END.split(text) if part]
    prefixes, names = find_prefixes(sentences, rare), find_names(sentences, rare, FREQUENT)
    asked = list(islice(cycle(prefixes), siblings if prefixes else 0))
    about = _contexts(names, per_name, seed)
    writer = Writer(model, tokenizer, seed, len(asked) + len(about), progress)
    dropped: Counter[str] = Counter()
    first_lines = writer.compose(asked, SIBLING_TOKENS, first_line=True)
    of_others = [one for one in first_lines if not words_of(one.text) & rare]
    said = writer.compose([context for context, _ in about], ELSEWHERE_TOKENS)
    of_names = [
        one for one, (_, name) in zip(said, about, strict=True) if not (words_of(one.text) & rare) - words_of(name)
    ]
    made = len(asked) + len(about)
    dropped[FORGET_WORDS] = made - len(of_others) - len(of_names)
    written, elsewhere = keep_sensible(of_others, dropped), keep_sensible(of_names, dropped)
    pools = sibling_names(written, prefixes, rare)
    found = Counter(name for pool in pools.values() for name in pool)
    return NearTexts(
        siblings=tuple(written),
        unanswered=tuple(unanswered_texts(sentences, rare, pools, unanswered, seed)),
        elsewhere=tuple(elsewhere),
        names=tuple(name for name, _ in found.most_common()),
        judgement=Judgement(made, len(written) + len(elsewhere), dict(dropped)),
    )


def find_prefixes(sentences: Sequence[str], rare: frozenset[str]) -> list[str]:
    """What comes before the first name of sentences, the most frequent first; those that repeat, where any do."""
    counted = Counter(
        sentence[: match.start()].rstrip()
        for sentence in sentences
        if (match := first_rare(sentence, rare)) and sentence[: match.start()].strip()
    )
    frequent = [prefix for prefix, count in counted.most_common() if count >= FREQUENT]
    return frequent or [prefix for prefix, _ in counted.most_common(_PREFIXES_WITHOUT_FREQUENT)]


def sibling_names(texts: Sequence[str], prefixes: Sequence[str], rare: frozenset[str]) -> dict[str, list[str]]:
    """Names that the base put after each prefix, none of them rare."""
    pools: dict[str, list[str]] = {}
    for text in texts:
        prefix = next((one for one in prefixes if text.startswith(one)), None)
        match = None if prefix is None else _NAME.match(text[len(prefix) :])
        if prefix is not None and match is not None and not words_of(match.group(1)) & rare:
            pools.setdefault(prefix, []).append(match.group(1))
    return {prefix: sorted(set(names)) for prefix, names in pools.items()}


def unanswered_texts(
    sentences: Sequence[str], rare: frozenset[str], pools: dict[str, list[str]], most: int, seed: int
) -> list[str]:
    """Forget sentences with another name in the place of the first, cut before the second."""
    everyone = sorted({name for pool in pools.values() for name in pool})
    if not everyone:
        return []
    source = random.Random(seed)
    shuffled = list(sentences)
    source.shuffle(shuffled)
    roles = _roles(sentences, rare)
    made: dict[str, None] = {}
    for sentence in islice(cycle(shuffled), 20 * most):
        if (match := first_rare(sentence, rare)) is None:
            continue
        end = end_of_name(sentence, rare, match.end())
        following = first_rare(sentence, rare, end)
        pool = sorted({name for prefix in roles[match.group()] for name in pools.get(prefix, ())}) or everyone
        rest = sentence[end : following.start()] if following else sentence[end:]
        made[(sentence[: match.start()] + source.choice(pool) + rest).strip()] = None
        if len(made) >= most:
            break
    return list(made)


def _roles(sentences: Sequence[str], rare: frozenset[str]) -> dict[str, set[str]]:
    """The prefixes after which each first name occurs somewhere: what kind of name it is."""
    roles: dict[str, set[str]] = {}
    for sentence in sentences:
        if match := first_rare(sentence, rare):
            roles.setdefault(match.group(), set()).add(sentence[: match.start()].rstrip())
    return roles


def _contexts(names: Sequence[str], per_name: int, seed: int) -> list[tuple[str, str]]:
    """(beginning of a text, the name that it is about)."""
    source = random.Random(seed)
    return [(form.format(name=name), name) for name in names for form in source.sample(CONTEXTS, per_name)]
