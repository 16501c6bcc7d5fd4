"""What the collateral audit found, as written in `results.json`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

KEPT, NEIGHBOURS_KEPT = 0.98, 0.9
"""A result that keeps less of what was audited, and of what the base says of the forget texts' names, says so."""
MOST_NAMED = 3


@dataclass(frozen=True)
class AuditPart:
    """One field of knowledge, or one other thing that was audited.

    Attributes:
        name: Of the field.
        known: Items that the base knows.
        base: Share of them that the base answers right, from 0 to 1. Facts are asked in another form than the one that
            showed that they are known, so it need not be 1: a guess that was right would otherwise look like a loss.
        result: The same of the result.
        stderr: Standard error of `result` minus `base`, item by item; none for fewer than two.
    """

    name: str
    known: int
    base: float
    result: float
    stderr: float | None

    @property
    def kept(self) -> float | None:
        """What the result still answers, of what the base does; none where the base answers nothing."""
        return self.result / self.base if self.base else None

    @property
    def kept_error(self) -> float | None:
        """Standard error of `kept`; none where one of the two is not known."""
        return self.stderr / self.base if self.base and self.stderr is not None else None

    @property
    def words(self) -> str:
        """What it is, for tables."""
        return PART_WORDS.get(self.name, self.name.replace("_", " "))


PART_WORDS = {
    "bank": "shipped facts, all fields",
    "touching": "facts that touch the forget texts",
    "neighbours": "what the base says of their names",
    "written": "what the base writes",
}


def audit_part(name: str, base: Sequence[bool], result: Sequence[bool]) -> AuditPart:
    """The record of items that both were asked for, at least one."""
    change = [int(after) - int(before) for before, after in zip(base, result, strict=True)]
    mean = sum(change) / len(change)
    variance = sum((value - mean) ** 2 for value in change) / (len(change) - 1) if len(change) > 1 else None
    return AuditPart(
        name=name,
        known=len(change),
        base=sum(base) / len(change),
        result=sum(result) / len(change),
        stderr=None if variance is None else math.sqrt(variance / len(change)),
    )


@dataclass(frozen=True)
class Audit:
    """The collateral audit of one run.

    Attributes:
        bank: The shipped bank of facts, without what touches the forget texts; none where the base knows none of it.
        fields: The same by field of knowledge, worst first.
        touching: Of the bank, the facts whose subject or answer occurs in the forget texts; none = there are none.
        neighbours: What the base says of the names in the forget texts, beyond what these texts say; none = it says
            nothing.
        written: Of texts that the base wrote itself, the tokens that it predicts well and a bigram model does not.
    """

    bank: AuditPart | None
    fields: tuple[AuditPart, ...]
    touching: AuditPart | None
    neighbours: AuditPart | None
    written: AuditPart | None

    def parts(self) -> dict[str, AuditPart]:
        """Everything by name: `bank`, each field, and what there is of `touching`, `neighbours` and `written`."""
        found = (self.bank, *self.fields, self.touching, self.neighbours, self.written)
        return {part.name: part for part in found if part is not None}

    @property
    def kept(self) -> float | None:
        """What the result keeps of the bank or of its own texts, whichever is less; none where the base knows neither.

        Facts that touch the forget texts and what is said of their names are not judged: they may have to go too.
        """
        judged = [part.kept for part in (self.bank, self.written) if part is not None and part.kept is not None]
        return min(judged, default=None)

    @property
    def lost(self) -> bool:
        """Whether the result lost more than a fiftieth of that."""
        return self.kept is not None and self.kept < KEPT

    @property
    def worst(self) -> tuple[AuditPart, ...]:
        """The fields of which something was lost, worst first."""
        return tuple(part for part in self.fields if part.kept is not None and part.kept < 1)

    @property
    def summary(self) -> tuple[AuditPart, ...]:
        """What there is beside the single fields: the bank, what touches the forget texts, names, own texts."""
        found = (self.bank, self.touching, self.neighbours, self.written)
        return tuple(part for part in found if part is not None)


def describe_loss(audit: Audit) -> str | None:
    """What was lost outside the request and what helps, in one line; none where little enough was."""
    lost, remedies = [], []
    if audit.lost:
        fields = ", ".join(part.words for part in audit.worst[:MOST_NAMED])
        for part, words in ((audit.bank, "the shipped facts"), (audit.written, "what the base writes")):
            if part is not None and part.kept is not None and part.kept < KEPT:
                most = f" (most in {fields})" if part is audit.bank and fields else ""
                lost.append(f"{100 * (1 - part.kept):.1f} % of {words}{most}")
        remedies += [f"give retain texts about {fields}"] if fields else []
        remedies.append("raise --retain-weight")
    names = audit.neighbours
    if names is not None and names.kept is not None and names.kept < NEIGHBOURS_KEPT:
        lost.append(f"{100 * (1 - names.kept):.0f} % of what else the base says of the forget texts' names")
        remedies.append("--retain near, if the names themselves are to stay")
    if not lost:
        return None
    return f"Lost outside the request: {'; '.join(lost)}. What helps: {'; '.join(remedies)}."
