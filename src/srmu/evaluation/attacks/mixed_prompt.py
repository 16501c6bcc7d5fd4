"""Forget and retain questions in one prompt: a question after an answered one of the other side.

Definition: each tested question stands after a kept question with its answer, each kept question after a told one
with its answer. Source: arXiv 2505.14832 (forget and retain queries in one prompt, up to eight) and arXiv 2410.02879
(benchmarks overlook that forget and retain sides depend on one another); abstracts read. One question and one answered
question are ours. Budget: a forward pass a question.
"""

import dataclasses
from collections.abc import Sequence

from srmu.evaluation.attacks.asking import ask_both, outcome_of
from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.outcome import Outcome
from srmu.evaluation.attacks.relearn import tell
from srmu.evaluation.attacks.setting import AttackSetting
from srmu.inputs.questions import Question


def mixed_prompt(setting: AttackSetting, cells: Cells) -> Outcome:
    """Ask each side after the other."""
    forget = after_each(setting.tested, setting.told_kept())
    kept = {name: after_each(group, setting.told) for name, group in setting.kept.items()}
    return outcome_of(setting, cells, ask_both(setting, forget, kept))


def after_each(questions: Sequence[Question], first: Sequence[Question]) -> list[Question]:
    """Each question after one of `first` with its answer, in turn."""
    return [
        dataclasses.replace(question, prompt=f"{tell(first[place % len(first)])}\n{question.prompt}")
        for place, question in enumerate(questions)
    ]
