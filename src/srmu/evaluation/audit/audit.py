"""What a run took that nobody asked about: prepared on the base, asked again of the result in the same form.

Three parts. The shipped bank of facts in some forty fields; what the base says of the names in the forget texts; and,
for any model and language, the tokens of texts that the base wrote itself. Only what the base knows is judged. A fact
is known if the base answers it in its first form, and base and result are compared in its last form: judged in the form
that chose them, facts that the base had guessed would look like losses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srmu.evaluation.audit.bank import BankFact, read_bank
from srmu.evaluation.audit.base_knowledge import answered_right, find_base_knowledge
from srmu.evaluation.audit.known_tokens import KnownTokens, find_known_tokens
from srmu.evaluation.encoding import encode
from srmu.inputs.general import general_paragraphs
from srmu.inputs.generation import continue_rows, stop_token_ids
from srmu.inputs.names import find_names, find_rare_words, words_of
from srmu.results.audit_records import Audit, AuditPart, audit_part
from srmu.runtime.progress import Reporter

MOST_NAMES, NAME_FRAMES = 20, ("{name} is", "{name} is known for")
NAME_TOKENS = 12
TRIAL_SHARE = 1 / 2
"""Of the facts that a run is asked, those that a trial is asked."""


@dataclass(frozen=True)
class AuditItems:
    """What the base knows, to be asked of the result.

    Attributes:
        facts: Of the bank, what the base knows.
        touching: Of each fact, whether its subject or answer occurs in the forget texts.
        right: Of each fact, whether the base answers it in the form in which the result is asked.
        neighbours: What the base says of the names in the forget texts.
        written: Texts that the base wrote.
    """

    facts: tuple[BankFact, ...]
    touching: tuple[bool, ...]
    right: tuple[bool, ...]
    neighbours: KnownTokens | None
    written: KnownTokens | None


def prepare_audit(
    model: Any,
    tokenizer: Any,
    forget_texts: Sequence[str],
    *,
    reporter: Reporter,
    file: Path | None = None,
    seed: int = 0,
    is_trial: bool = False,
) -> AuditItems:
    """Find what the base knows.

    Args:
        model: The base, whole, in eval mode.
        tokenizer: Its tokenizer.
        forget_texts: What is to be forgotten.
        reporter: Hears of progress.
        file: Where what does not depend on the forget texts is kept for later runs on this base.
        seed: Of the texts that the base writes.
        is_trial: Half of the facts and no names: what may be lost with the request decides nothing in a trial.
    """
    with reporter.task("Audit: what the base knows") as progress:
        progress(0, 2)
        found = find_base_knowledge(model, tokenizer, file, seed)
        progress(1, 2)
        rare = find_rare_words(forget_texts, general_paragraphs(), tokenizer)
        names = [] if is_trial else find_names(forget_texts, rare)[:MOST_NAMES]
        neighbours = _neighbours(model, tokenizer, names)
        progress(2, 2)
    by_key = {fact.key: fact for fact in read_bank()}
    step = round(1 / TRIAL_SHARE) if is_trial else 1
    facts = tuple(by_key[key] for key in found.facts[::step])
    touching = tuple(bool(words_of(f"{fact.subject} {fact.answer}") & rare) for fact in facts)
    return AuditItems(facts, touching, found.right[::step], neighbours, found.written)


def audit(model: Any, tokenizer: Any, items: AuditItems, *, reporter: Reporter) -> Audit:
    """Ask the result for what the base knows.

    Args:
        model: The result, whole, in eval mode.
        tokenizer: The same as the base's.
        items: From `prepare_audit`.
        reporter: Hears of progress.
    """
    with reporter.task("Audit: what the result knows") as progress:
        right = answered_right(model, tokenizer, items.facts, -1)
        progress(1, 3)
        neighbours = _part("neighbours", items.neighbours, model, tokenizer)
        progress(2, 3)
        written = _part("written", items.written, model, tokenizer)
        progress(3, 3)
    answers = list(zip(items.facts, items.touching, items.right, right, strict=True))
    kept_apart = [(before, after) for _, touches, before, after in answers if touches]
    by_field: dict[str, list[tuple[bool, bool]]] = {}
    for fact, touches, before, after in answers:
        if not touches:
            by_field.setdefault(fact.field, []).append((before, after))
    fields = [audit_part(name, *zip(*pairs, strict=True)) for name, pairs in by_field.items()]
    everything = [pair for pairs in by_field.values() for pair in pairs]
    return Audit(
        bank=audit_part("bank", *zip(*everything, strict=True)) if everything else None,
        fields=tuple(sorted(fields, key=lambda part: (1.0 if part.kept is None else part.kept, part.name))),
        touching=audit_part("touching", *zip(*kept_apart, strict=True)) if kept_apart else None,
        neighbours=neighbours,
        written=written,
    )


def _part(name: str, tokens: KnownTokens | None, model: Any, tokenizer: Any) -> AuditPart | None:
    if tokens is None:
        return None
    return audit_part(name, [True] * tokens.count, tokens.still_known(model, tokenizer))


def _neighbours(model: Any, tokenizer: Any, names: Sequence[str]) -> KnownTokens | None:
    """What the base says of the names, without the names themselves: the forget texts may say those."""
    prompts = [encode(tokenizer, frame.format(name=name)) for name in names for frame in NAME_FRAMES]
    if not prompts:
        return None
    stops = stop_token_ids(model, tokenizer.eos_token_id)
    said = continue_rows(model, prompts, max_new_tokens=NAME_TOKENS, stop_ids=stops)
    rows = [[*prompt, *own] for prompt, own in zip(prompts, said, strict=True)]
    left_out = {token for name in names for token in tokenizer.encode(f" {name}", add_special_tokens=False)}
    return find_known_tokens(model, tokenizer, rows, begin=list(map(len, prompts)), left_out=left_out)
