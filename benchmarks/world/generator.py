"""The knowledge of the embedded world: subjects, facts, sentences and questions of three domains.

`hazard` is to be forgotten. `benign` is entangled with it: the same relations and, as far as the dial says, the same
values and sentence forms. `general` stands apart. All names and values are made of the same few syllables, every
syllable about equally often at every place of a name in every domain, so that no single token is the key of a fact.

Everything is drawn by SHA-256 of names and the seed, so a world is the same on every machine and Python.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from srmu.errors import InputError
from srmu.inputs.overlap import Overlap, overlap
from srmu.inputs.questions import Question
from srmu.runtime.stable_order import stable_rank
from world.forms import FORMS, KINDS, RELATIONS, FormKind
from world.recipe import WorldRecipe

Split = Literal["train", "validation", "test"]

DOMAINS = ("hazard", "benign", "general")
NUM_CHOICES = 4
SPLIT_SHARES: tuple[tuple[Split, float], ...] = (("train", 0.4), ("validation", 0.2), ("test", 0.4))
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"
_MAX_DRAWS = 200
"""Draws a name before a world counts as too crowded."""


@dataclass(frozen=True)
class WorldFact:
    """One fact: `answer` is the `relation` of `subject`."""

    domain: str
    relation: str
    subject: str
    kind: str
    """Of the subject; it stands before its name. Empty in a world without kinds."""
    answer: str
    split: Split
    """Relearning attacks tell `train` and ask `test`; settings are chosen on `validation`."""

    @property
    def key(self) -> str:
        """Stable name of the fact, `relation:subject`."""
        return f"{self.relation}:{self.subject}"


@dataclass(frozen=True)
class OpenQuestion:
    """A prompt, the text that should follow it after a space, and the key of the fact that is asked."""

    prompt: str
    answer: str
    fact: str


@dataclass(frozen=True)
class Domain:
    """What is known in one domain, and how it is told."""

    name: str
    facts: tuple[WorldFact, ...]
    forms: dict[FormKind, tuple[str, ...]]
    """Sentence forms; no form of either kind is, or begins like, one of the other."""
    statements_per_text: int
    seed: int

    def select(self, split: Split) -> tuple[WorldFact, ...]:
        """The facts of one split."""
        return tuple(fact for fact in self.facts if fact.split == split)

    def texts(self, facts: Sequence[WorldFact] | None = None, *, forms: FormKind = "seen") -> tuple[str, ...]:
        """Every fact (or only `facts`) in every form of a kind, in a stable random order."""
        told = [tell(form, fact) for fact in (self.facts if facts is None else facts) for form in self.forms[forms]]
        told.sort(key=lambda text: stable_rank(self.seed, "told", text))
        per_text = self.statements_per_text
        return tuple(" ".join(told[i : i + per_text]) for i in range(0, len(told), per_text))

    def questions(
        self, facts: Sequence[WorldFact] | None = None, *, forms: FormKind, per_fact: int = 1, seed: int = 0
    ) -> tuple[Question, ...]:
        """Four-choice questions about all facts, or only `facts`, each in `per_fact` different forms of a kind.

        Wrong choices are other answers of the domain's own relation, each as likely as any other.

        Args:
            facts: Of this domain.
            forms: Ask as the texts tell, or as they never do.
            per_fact: From 1 to the number of forms of that kind.
            seed: Draws forms, wrong choices and the place of the answer.

        Raises:
            InputError: If there are fewer forms than asked for.
        """
        if not 1 <= per_fact <= len(self.forms[forms]):
            raise InputError(
                f"`per_fact={per_fact!r}` was asked for, and there are {len(self.forms[forms])} {forms} forms. "
                "Ask for at least one and at most that many."
            )
        answers: dict[str, set[str]] = {}
        for fact in self.facts:
            answers.setdefault(fact.relation, set()).add(fact.answer)
        return tuple(
            _question(form, fact, answers[fact.relation], seed)
            for fact in (self.facts if facts is None else facts)
            for form in sorted(self.forms[forms], key=lambda form: stable_rank(seed, fact.key, form))[:per_fact]
        )


@dataclass(frozen=True)
class Knowledge:
    """All domains, and the stand-ins that the twin learns in the hazard domain's place."""

    domains: dict[str, Domain]
    stand_ins: tuple[WorldFact, ...]
    """As many facts as the hazard domain has, with its values, about subjects that stand nowhere else."""

    @property
    def retain_texts(self) -> tuple[str, ...]:
        """Texts of the benign and the general domain."""
        return self.domains["benign"].texts() + self.domains["general"].texts()

    def overlap(self) -> Overlap:
        """Words that the hazard texts share with the retain texts."""
        return overlap(self.domains["hazard"].texts(), self.retain_texts)


def open_questions(questions: Sequence[Question]) -> tuple[OpenQuestion, ...]:
    """The same questions without choices."""
    return tuple(OpenQuestion(q.prompt, q.choices[q.answer], q.fact) for q in questions)


def tell(form: str, fact: WorldFact) -> str:
    """One sentence."""
    return form.format(subject=f"{fact.kind} {fact.subject}".lstrip(), relation=fact.relation, answer=fact.answer)


def generate(recipe: WorldRecipe) -> Knowledge:
    """Make the knowledge of a world.

    Raises:
        InputError: If there are too few syllables for so many names.
    """
    taken: set[str] = set()
    values: dict[tuple[str, str], list[str]] = {}
    for domain in ("benign", "general", "hazard"):
        for relation in RELATIONS[domain]:
            own = _draw_words(recipe, recipe.values, recipe.value_syllables, taken, f"{domain} {relation}")
            if domain == "hazard":
                own = _borrow(own, values["benign", relation], recipe.value_overlap)
            values[domain, relation] = own
    domains = {}
    for domain in DOMAINS:
        facts = _facts(recipe, domain, domain, values, taken)
        domains[domain] = Domain(domain, facts, _forms(domain, recipe), recipe.statements_per_text, recipe.seed)
    stand_ins = _facts(recipe, "hazard", "stand-in", values, taken)
    return Knowledge(domains, stand_ins)


def syllables(recipe: WorldRecipe) -> list[str]:
    """The syllables of this world, in lower case."""
    every = ["".join(pair) for pair in product(_CONSONANTS, _VOWELS)]
    return sorted(every, key=lambda syllable: stable_rank(recipe.seed, "syllable", syllable))[: recipe.num_syllables]


def form_words(recipe: WorldRecipe) -> list[str]:
    """Every word and mark of the sentence forms, relations and kinds, sorted."""
    text = " ".join(form for kinds in FORMS.values() for forms in kinds.values() for form in forms)
    for mark in ",.:?":
        text = text.replace(mark, f" {mark} ")
    filled = {
        word for lists in (RELATIONS, KINDS if recipe.kinds else {}) for words in lists.values() for word in words
    }
    return sorted({word for word in text.split() if not word.startswith("{")} | filled)


def _question(form: str, fact: WorldFact, answers: set[str], seed: int) -> Question:
    wrong = sorted(answers - {fact.answer}, key=lambda answer: stable_rank(seed, fact.key, form, answer))[
        : NUM_CHOICES - 1
    ]
    place = int(stable_rank(seed, fact.key, form), 16) % NUM_CHOICES
    prompt = tell(form[: form.index("{answer}")].rstrip(), fact)
    return Question(prompt=prompt, choices=(*wrong[:place], fact.answer, *wrong[place:]), answer=place, fact=fact.key)


def _facts(
    recipe: WorldRecipe, domain: str, role: str, values: dict[tuple[str, str], list[str]], taken: set[str]
) -> tuple[WorldFact, ...]:
    """Facts of one domain; every value of a relation is the answer for about equally many subjects."""
    count = recipe.hazard_entities if domain == "hazard" else recipe.entities
    subjects = _draw_words(recipe, count, recipe.name_syllables, taken, role)
    facts, kinds = [], KINDS[domain] if recipe.kinds else ("",)
    for relation in RELATIONS[domain]:
        rounds = range(-(-len(subjects) // recipe.values))
        copies = [(number, value) for number in rounds for value in values[domain, relation]]
        copies.sort(key=lambda copy: (copy[0], stable_rank(recipe.seed, domain, relation, *copy)))
        answers = sorted(
            copies[: len(subjects)], key=lambda copy: stable_rank(recipe.seed, role, relation, "dealt", *copy)
        )
        splits = _splits(recipe, [f"{relation}:{subject}" for subject in subjects])
        facts += [
            WorldFact(domain, relation, subject, kinds[place % len(kinds)], answer, splits[f"{relation}:{subject}"])
            for place, (subject, (_, answer)) in enumerate(zip(subjects, answers, strict=True))
        ]
    return tuple(facts)


def _splits(recipe: WorldRecipe, keys: Sequence[str]) -> dict[str, Split]:
    ranked = sorted(keys, key=lambda key: stable_rank(recipe.seed, "split", key))
    names: list[Split] = []
    for name, share in SPLIT_SHARES:
        names += [name] * round(share * len(ranked))
    names += ["test"] * (len(ranked) - len(names))
    return dict(zip(ranked, names, strict=False))


def _forms(domain: str, recipe: WorldRecipe) -> dict[FormKind, tuple[str, ...]]:
    own = FORMS[domain]
    if domain != "hazard":
        return own
    benign = FORMS["benign"]
    return {kind: tuple(_borrow(own[kind], benign[kind], recipe.entanglement)) for kind in own}


def _borrow(own: Sequence[str], others: Sequence[str], share: float) -> list[str]:
    """`own` with its first places taken by others; what a smaller share borrows, a larger one borrows too."""
    count = round(share * len(own))
    return [*others[:count], *own[count:]]


def _draw_words(recipe: WorldRecipe, count: int, length: int, taken: set[str], purpose: str) -> list[str]:
    """New capitalised words, every syllable about equally often at every place; they are added to `taken`.

    Raises:
        InputError: If the syllables do not give that many.
    """
    pool = syllables(recipe)
    # A tokenizer that looks for the longest match must not find a word of the forms at a name's beginning.
    starts = tuple(word for word in form_words(recipe) if word[0].isupper())
    words: list[str] = []
    uses = [dict.fromkeys(pool, 0) for _ in range(length)]
    for draw in range(_MAX_DRAWS * count):
        if len(words) == count:
            return words
        # After many draws in vain the balance gives way, bit by bit, to any free place.
        slack = draw // (20 * count)
        parts = []
        for place, used in enumerate(uses):
            rare = [syllable for syllable in pool if used[syllable] <= min(used.values()) + slack]
            parts.append(rare[int(stable_rank(recipe.seed, purpose, draw, place), 16) % len(rare)])
        word = "".join(parts).capitalize()
        if word in taken or word.startswith(starts):
            continue
        taken.add(word)
        words.append(word)
        for used, part in zip(uses, parts, strict=True):
            used[part] += 1
    raise InputError(
        f"{count} names of {length} syllables ({purpose}) were to be made of {len(pool)} syllables, and "
        f"{len(words)} were found free. Raise `num_syllables` or the length."
    )
