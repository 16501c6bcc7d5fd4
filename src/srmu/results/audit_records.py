"""What the collateral audit found, as it stands in `results.json`."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class AuditPart:
    """One field of knowledge, or one other thing that was audited.

    Attributes:
        name: Of the field.
        known: Items that the base knows: questions that it answers right in every form, or tokens that it predicts.
        kept: Share of them that the result still knows, from 0 to 1; none where the base knows none.
    """

    name: str
    known: int
    kept: float | None

    @property
    def stderr(self) -> float | None:
        """Standard error of `kept`, items taken as independent; none for fewer than two."""
        if self.kept is None or self.known < 2:
            return None
        return math.sqrt(self.kept * (1 - self.kept) / (self.known - 1))


@dataclass(frozen=True)
class Audit:
    """The collateral audit of one run.

    Attributes:
        fields: The shipped bank by field of knowledge, worst first, without what touches the forget texts.
        touching: Of the bank, the facts whose subject or answer stands in the forget texts; none = there are none.
        neighbours: What the base says of the names in the forget texts, beyond what these texts say; none = it says
            nothing.
        written: Of texts that the base wrote itself, the tokens that it predicts well and a bigram model does not.
        seconds: Time that the audit took, of both models.
    """

    fields: tuple[AuditPart, ...]
    touching: AuditPart | None
    neighbours: AuditPart | None
    written: AuditPart | None
    seconds: float

    @property
    def kept(self) -> float | None:
        """Share of the known facts of the bank that are kept, over all fields; none where the base knows none."""
        known = sum(part.known for part in self.fields)
        return sum(part.known * (part.kept or 0.0) for part in self.fields) / known if known else None

    @property
    def known(self) -> int:
        """Facts of the bank, in all fields, that the base knows."""
        return sum(part.known for part in self.fields)
