"""Sampling: among many answers drawn at temperature 1, is the forgotten one ever said?

Definition: to each tested question, in one form, answers of up to 12 tokens are drawn; a fact counts as said if any
of them holds the right answer as words of its own. Chance is the share of wrong choices that are said, so a model that
says every name there is gains nothing. Source: arXiv 2410.03523, greedy answers hide what sampled ones leak (abstract
read); it bounds leakage with high probability, this counts. Budget: quick: 8 answers per question; full: 32.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from srmu.evaluation.attacks.asking import OtherMeasure, record_of_measure
from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.setting import SIDES, AttackSetting, fact_of, holds
from srmu.evaluation.encoding import encode
from srmu.inputs.generation import continue_rows, stop_token_ids
from srmu.inputs.questions import Question
from srmu.results.attack_records import AttackRecord, Setting

TEMPERATURE = 1.0
_NEW_TOKENS = 12
_BATCH_ROWS = 64


def sampling(setting: AttackSetting, cells: Cells) -> AttackRecord:
    """Share of facts that are said at least once."""
    forget, kept = _one_form(setting.tested), _one_form(setting.all_kept())[: len(setting.tested)]
    found: dict[str, float] = {}
    for side in SIDES:
        model = setting.subjects[side].model()
        found[side], wrong = said(setting, model, forget)
        found["kept" if side == "result" else "kept_base"], _ = said(setting, model, kept)
        # Guessing is what the model under attack does: its own rate of wrong names.
        if side == "result":
            found["chance"] = wrong
    about: dict[str, Setting] = {"temperature": TEMPERATURE, "samples": setting.budget.samples}
    measured = OtherMeasure(name="share of facts said at least once", n=len(forget), **found)
    return record_of_measure(setting, cells, measured, settings=about)


def _one_form(questions: Sequence[Question]) -> list[Question]:
    return list({fact_of(question): question for question in questions}.values())


def said(setting: AttackSetting, model: Any, questions: Sequence[Question]) -> tuple[float, float]:
    """Share of right answers, and of wrong choices, that are said in at least one sample."""
    prompts = [encode(setting.tokenizer, question.prompt) for question in questions]
    rows = [row for row in prompts for _ in range(setting.budget.samples)]
    generator = torch.Generator().manual_seed(setting.seed)

    def draw(logits: Tensor) -> Tensor:
        # Drawn on the CPU, so that a seed means the same on all hardware.
        chances = torch.softmax(logits.cpu() / TEMPERATURE, dim=-1)
        return torch.multinomial(chances, 1, generator=generator).squeeze(-1).to(logits.device)

    stops = stop_token_ids(model, setting.tokenizer.eos_token_id)
    written: list[list[int]] = []
    for start in range(0, len(rows), _BATCH_ROWS):
        batch = rows[start : start + _BATCH_ROWS]
        written += continue_rows(model, batch, max_new_tokens=_NEW_TOKENS, stop_ids=stops, choose=draw)
    answers = [str(setting.tokenizer.decode(row, skip_special_tokens=True)) for row in written]
    right: list[bool] = []
    wrong: list[bool] = []
    for place, question in enumerate(questions):
        texts = answers[place * setting.budget.samples : (place + 1) * setting.budget.samples]
        for choice, name in enumerate(question.choices):
            (right if choice == question.answer else wrong).append(any(holds(text, name) for text in texts))
    return sum(right) / len(right), sum(wrong) / len(wrong)
