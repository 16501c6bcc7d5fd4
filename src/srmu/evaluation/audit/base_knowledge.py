"""What a base knows whatever is to be forgotten: facts of the bank, and tokens of texts that it wrote.

Neither depends on the forget texts, so it is found once for each base and kept in a file; every later run on that base
takes it from there.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srmu.evaluation.audit.bank import BankFact, choose_facts, read_bank
from srmu.evaluation.audit.known_tokens import KnownTokens, find_known_tokens
from srmu.evaluation.questions import score_questions
from srmu.inputs.generation import continue_rows, stop_token_ids
from srmu.inputs.self_written import OPENINGS, find_start_token
from srmu.results.schema import Mismatch, from_json, to_json
from srmu.runtime.files import write_json_atomic
from srmu.runtime.processes import from_main, main_process

KNOWN_PER_FIELD, ASKED_PER_FIELD = 5, 10
"""Facts that are wanted of each field, and most that the base is asked to find them."""
WRITTEN_ROWS, WRITTEN_TOKENS = 24, 24


@dataclass(frozen=True)
class BaseKnowledge:
    """What a base knows.

    Attributes:
        facts: Keys of the bank's facts that it answers in their first form.
        right: Of each, whether it answers it in its last form too, in which results are asked.
        written: Tokens of its own texts; none = it predicts none well.
    """

    facts: tuple[str, ...]
    right: tuple[bool, ...]
    written: KnownTokens | None = None


def find_base_knowledge(model: Any, tokenizer: Any, file: Path | None = None, seed: int = 0) -> BaseKnowledge:
    """What the base knows, from a file where it is there, and otherwise by asking it.

    Args:
        model: The base, whole, in eval mode.
        tokenizer: Its tokenizer.
        file: Where it is kept; a file that cannot be read or written is as good as none.
        seed: Of the texts that it writes; no run's, so that runs with several seeds are audited on the same texts.
    """
    kept = from_main(_read(file) if main_process() else None)
    if kept is not None:
        found: BaseKnowledge = from_json(BaseKnowledge, kept)
        return found
    facts = _find_known_facts(model, tokenizer)
    found = BaseKnowledge(
        facts=tuple(fact.key for fact in facts),
        right=tuple(answered_right(model, tokenizer, facts, -1)),
        written=_find_written(model, tokenizer, seed),
    )
    if file is not None and main_process():
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json_atomic(file, to_json(found), private=True)
    return found


def answered_right(model: Any, tokenizer: Any, facts: Sequence[BankFact], form: int) -> list[bool]:
    """Whether each fact is answered right in one of its forms."""
    if not facts:
        return []
    scores = score_questions(model, tokenizer, [fact.question(form) for fact in facts])
    return [bool(right) for right in scores.correct_norm]


def _read(file: Path | None) -> Any:
    """The JSON value of a file that holds what a base knows; none where there is no such file."""
    if file is None:
        return None
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        facts = from_json(BaseKnowledge, value).facts
    except (OSError, ValueError, Mismatch):
        return None
    # Of a version with another bank.
    return value if set(facts) <= {fact.key for fact in read_bank()} else None


def _find_known_facts(model: Any, tokenizer: Any) -> list[BankFact]:
    """So many facts of each field as are wanted; the base is asked no more of them than it takes to find those."""
    candidates = choose_facts(read_bank(), ASKED_PER_FIELD)
    waiting: dict[str, list[BankFact]] = {}
    for fact in candidates:
        waiting.setdefault(fact.field, []).append(fact)
    known: dict[str, list[BankFact]] = {field: [] for field in waiting}
    while True:
        asked = []
        for field, facts in waiting.items():
            missing = KNOWN_PER_FIELD - len(known[field])
            asked += facts[:missing]
            waiting[field] = facts[missing:]
        if not asked:
            return [fact for facts in known.values() for fact in facts]
        for fact, right in zip(asked, answered_right(model, tokenizer, asked, 0), strict=True):
            if right:
                known[fact.field].append(fact)


def _find_written(model: Any, tokenizer: Any, seed: int) -> KnownTokens | None:
    """Texts that the base writes at temperature 1 after neutral openings."""
    generator = torch.Generator(device=model.device).manual_seed(seed + 1)
    start = find_start_token(tokenizer)
    prompts = [
        [*([] if start is None else [start]), *tokenizer.encode(opening, add_special_tokens=False)]
        for opening in OPENINGS[:WRITTEN_ROWS]
    ]

    def sample(logits: Tensor) -> Tensor:
        return torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(-1)

    stops = stop_token_ids(model, tokenizer.eos_token_id)
    said = continue_rows(model, prompts, max_new_tokens=WRITTEN_TOKENS, stop_ids=stops, choose=sample)
    rows = [[*prompt, *own] for prompt, own in zip(prompts, said, strict=True)]
    return find_known_tokens(model, tokenizer, rows, begin=list(map(len, prompts)))
