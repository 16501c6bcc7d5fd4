"""Forget and retain questions in one prompt: a question after an answered one of the other side.

Definition: each tested question comes after a kept question with its answer, each kept question after a given one
with its answer. Source: arXiv 2505.14832 (forget and retain queries in one prompt, up to eight) and arXiv 2410.02879
(benchmarks overlook that forget and retain sides depend on one another); abstracts read. One question and one answered
question are ours. Budget: a forward pass per question.
"""

import dataclasses
from collections.abc import Sequence

from srmu.evaluation.attacks.asking import ask_both, record_of
from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.setting import AttackSetting
from srmu.evaluation.attacks.statements import statement
from srmu.inputs.questions import Question
from srmu.results.attack_records import AttackRecord


def mixed_prompt(setting: AttackSetting, cells: Cells) -> AttackRecord:
    """Ask each side after the other."""
    forget = after_each(setting.tested, setting.needed_kept_given())
    kept = {name: after_each(group, setting.given) for name, group in setting.kept.items()}
    return record_of(setting, cells, ask_both(setting, forget, kept))


def after_each(questions: Sequence[Question], first: Sequence[Question]) -> list[Question]:
    """Each question after one of `first` with its answer, in turn."""
    return [
        dataclasses.replace(question, prompt=f"{statement(first[place % len(first)])}\n{question.prompt}")
        for place, question in enumerate(questions)
    ]
