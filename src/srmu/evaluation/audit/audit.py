"""What a run took that nobody asked about: prepared on the base, asked again of the result in the same form.

Three parts. The shipped bank of facts in some thirty fields; what the base says of the names in the forget texts; and,
for any model and language, the tokens of texts that the base wrote itself. Only what the base knows is judged, so a
result that changed nothing keeps all of it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srmu.evaluation.audit.bank import BankFact, choose_facts, read_bank
from srmu.evaluation.audit.known_tokens import KnownTokens, find_known_tokens
from srmu.evaluation.audit.names import find_names, words_of
from srmu.evaluation.encoding import encode
from srmu.evaluation.questions import Question, score_questions
from srmu.inputs.general import general_paragraphs
from srmu.inputs.generation import continue_rows, stop_token_ids
from srmu.inputs.self_written import OPENINGS, find_start_token
from srmu.results.audit_records import Audit, AuditPart
from srmu.runtime.progress import Reporter

FACTS_PER_FIELD = 8
FORMS = 2
"""Forms in which a fact is asked; the base knows it if it is right in all, so that a guess seldom passes."""
MOST_NAMES, NAME_FRAMES = 40, ("{name} is", "{name} is known for", "{name} was")
NAME_TOKENS, WRITTEN_ROWS, WRITTEN_TOKENS = 16, 48, 32


@dataclass(frozen=True)
class AuditItems:
    """What the base knows, to be asked of the result.

    Attributes:
        facts: Of the bank, with their field, or none where they touch the forget texts.
        neighbours: What the base says of the names in the forget texts.
        written: Texts that the base wrote.
        seconds: That finding all this took.
    """

    facts: tuple[tuple[BankFact, bool], ...]
    neighbours: KnownTokens | None
    written: KnownTokens | None
    seconds: float


def prepare_audit(
    model: Any,
    tokenizer: Any,
    forget_texts: Sequence[str],
    *,
    seed: int,
    reporter: Reporter,
    facts_per_field: int = FACTS_PER_FIELD,
) -> AuditItems:
    """Find what the base knows.

    Args:
        model: The base, whole, in eval mode.
        tokenizer: Its tokenizer.
        forget_texts: What is to be forgotten.
        seed: Of the texts that the base writes.
        reporter: Hears of progress.
        facts_per_field: Most facts of the bank in each field.
    """
    started = time.perf_counter()
    with reporter.task("Audit: what the base knows") as progress:
        facts = choose_facts(read_bank(), facts_per_field)
        right = _right_facts(model, tokenizer, facts)
        progress(1, 3)
        ordinary = words_of(general_paragraphs())
        names = find_names(forget_texts, ordinary, MOST_NAMES)
        neighbours = _neighbours(model, tokenizer, names)
        progress(2, 3)
        written = _written(model, tokenizer, seed)
        progress(3, 3)
    specific = words_of(forget_texts) - ordinary
    known = [(fact, _touches(fact, specific)) for fact, is_right in zip(facts, right, strict=True) if is_right]
    return AuditItems(tuple(known), neighbours, written, time.perf_counter() - started)


def audit(model: Any, tokenizer: Any, items: AuditItems, *, reporter: Reporter) -> Audit:
    """Ask the result for what the base knows.

    Args:
        model: The result, whole, in eval mode.
        tokenizer: The same as the base's.
        items: From `prepare_audit`.
        reporter: Hears of progress.
    """
    started = time.perf_counter()
    with reporter.task("Audit: what the result knows") as progress:
        facts = [fact for fact, _ in items.facts]
        right = _right_facts(model, tokenizer, facts) if facts else []
        progress(1, 3)
        neighbours = _part("neighbours", items.neighbours, model, tokenizer)
        progress(2, 3)
        written = _part("written", items.written, model, tokenizer)
        progress(3, 3)
    by_field: dict[str, list[bool]] = {}
    touching: list[bool] = []
    for (fact, touches), is_right in zip(items.facts, right, strict=True):
        (touching if touches else by_field.setdefault(fact.field, [])).append(is_right)
    fields = [AuditPart(name, len(found), float(np.mean(found))) for name, found in by_field.items()]
    return Audit(
        fields=tuple(sorted(fields, key=lambda part: (part.kept or 0.0, part.name))),
        touching=AuditPart("touching", len(touching), float(np.mean(touching))) if touching else None,
        neighbours=neighbours,
        written=written,
        seconds=round(items.seconds + time.perf_counter() - started, 3),
    )


def _right_facts(model: Any, tokenizer: Any, facts: Sequence[BankFact]) -> list[bool]:
    """Whether each fact is answered right in every form that is asked."""
    asked: list[Question] = []
    ends = []
    for fact in facts:
        asked += fact.questions(FORMS)
        ends.append(len(asked))
    right = score_questions(model, tokenizer, asked).correct_norm
    return [bool(found.all()) for found in np.split(right, ends[:-1])]


def _touches(fact: BankFact, specific: frozenset[str]) -> bool:
    return bool(words_of([fact.subject, fact.answer]) & specific)


def _part(name: str, tokens: KnownTokens | None, model: Any, tokenizer: Any) -> AuditPart | None:
    return None if tokens is None else AuditPart(name, tokens.count, tokens.kept(model, tokenizer))


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


def _written(model: Any, tokenizer: Any, seed: int) -> KnownTokens | None:
    """Texts that the base writes at temperature 1 after neutral openings."""
    generator = torch.Generator(device=model.device).manual_seed(seed + 1)
    start = find_start_token(tokenizer)
    prompts = [
        [*([] if start is None else [start]), *tokenizer.encode(opening, add_special_tokens=False)]
        for opening in (*OPENINGS, *OPENINGS)[:WRITTEN_ROWS]
    ]

    def sample(logits: Tensor) -> Tensor:
        return torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(-1)

    stops = stop_token_ids(model, tokenizer.eos_token_id)
    said = continue_rows(model, prompts, max_new_tokens=WRITTEN_TOKENS, stop_ids=stops, choose=sample)
    rows = [[*prompt, *own] for prompt, own in zip(prompts, said, strict=True)]
    return find_known_tokens(model, tokenizer, rows, begin=list(map(len, prompts)))
