"""Names that both sides tell of: where there are many, some facts about them are to be forgotten and others not."""

import re
from dataclasses import dataclass

from srmu.config.sources import GENERAL
from srmu.inputs.corpora import Corpus
from srmu.inputs.general import general_paragraphs
from srmu.inputs.names import find_names, find_rare_words
from srmu.job.plan import Plan, TopicTexts

MANY = 0.2
"""Share of names from which the request is taken for one of facts.

Of requests about entities of a kind none was above 0.03, of requests about facts none below 0.2; texts of other sorts
are above it too, so it is a hint (docs/log).
"""
MOST_DOCUMENTS = 1000
"""Documents of a source that are looked at."""


@dataclass(frozen=True)
class SharedNames:
    """Names of the forget texts.

    Attributes:
        total: How many there are.
        shared: Those that the user's retain texts have too, the most frequent first.
    """

    total: int
    shared: tuple[str, ...]

    @property
    def are_many(self) -> bool:
        """Whether facts are probably meant."""
        return self.total > 0 and len(self.shared) >= MANY * self.total

    def describe(self) -> str:
        """One sentence, with the remedy."""
        shown = ", ".join(self.shared[:3]) + (", ..." if len(self.shared) > 3 else "")
        return (
            f"{len(self.shared)} of the {self.total} names in the forget texts are in the retain texts too ({shown}). "
            "If only some facts about them must go, add --request facts."
        )


def find_shared_names(plan: Plan) -> SharedNames:
    """Over all topics of a plan; what the tool itself ships or lets the base write is not looked at."""
    total, shared = 0, list[str]()
    ordinary = general_paragraphs()
    for topic in plan.topics:
        forget, retain = own_texts(topic)
        names = find_names(forget, find_rare_words(forget, ordinary, plan.tokenizer))
        kept = "\n".join(retain)
        total += len(names)
        shared += [name for name in names if re.search(rf"\b{re.escape(name)}\b", kept)]
    return SharedNames(total, tuple(shared))


def own_texts(topic: TopicTexts) -> tuple[list[str], list[str]]:
    """The user's texts to forget and to retain, without what the tool ships; the first ones of each source."""
    retain = [text for corpus in topic.retain if corpus.source != GENERAL for text in _texts(corpus)]
    return _texts(topic.forget), retain


def _texts(corpus: Corpus) -> list[str]:
    return [document.as_text() for document in corpus.documents[:MOST_DOCUMENTS]]
