"""What kind of request the texts make: some entities of a kind, or a whole domain."""

from dataclasses import dataclass
from typing import Literal

from srmu.errors import InputError
from srmu.inputs.overlap import overlap
from srmu.job.plan import Plan, TopicTexts
from srmu.job.shared_names import own_texts

Kind = Literal["entities", "domain"]
SAME_KIND = 0.2
"""Share of the forget texts' content-word pairs in the retain texts from which these say things of the same kind."""


@dataclass(frozen=True)
class Request:
    """What `--search` takes the request for.

    Attributes:
        kind: `entities`: others of the same kind must stay. `domain`: all of the kind must go.
        reason: One sentence.
        shared: Share of the running pairs of content words in the forget texts that occur in the retain texts too; none
            where it was not counted.
    """

    kind: Kind
    reason: str
    shared: float | None = None


def decide_request(plan: Plan) -> Request:
    """The user's word, or else by the overlap of forget and retain texts.

    Retain texts that say things of the same kind use the same turns of phrase with other names in them; pairs of
    content words show that, single words do not. Texts that the model writes and shipped paragraphs are not counted.
    """
    asked = plan.config.search.request
    if asked in ("entities", "domain"):
        return Request(asked, "as asked for")
    counted = [share for topic in plan.topics if (share := _shared(topic)) is not None]
    if not counted:
        return Request("domain", "no retain texts were given that could be about others of the same kind")
    shared = max(counted)
    found = f"{100 * shared:.0f} % of the forget texts' pairs of content words occur in the retain texts"
    if shared >= SAME_KIND:
        return Request("entities", f"{found}: they are about others of the same kind", shared)
    return Request("domain", f"{found}: they are about other things", shared)


def _shared(topic: TopicTexts) -> float | None:
    forget, retain = own_texts(topic)
    try:
        return overlap(forget, retain, max_words=2).content_words[2].token_containment
    except InputError:
        # One side has no words.
        return None
