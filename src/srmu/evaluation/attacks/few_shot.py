"""Few-shot examples in the prompt: given facts with their answers come before every tested question.

Definition: four given facts, each as its question with the right answer, one per line, then the tested question; kept
questions get other kept facts. Source: arXiv 2411.12103 (five examples raised the accuracy of models unlearned by RMU
and LLMU; abstract read) and in-context relearning, arXiv 2402.16835 (that part not read at the source). Four examples,
and that they come from the given half, are ours. Budget: one forward pass per question; the examples are shared and
read once.
"""

import dataclasses
from collections.abc import Sequence

from srmu.evaluation.attacks.asking import ask_both, record_of
from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.setting import AttackSetting, fact_of
from srmu.evaluation.attacks.statements import statement
from srmu.inputs.questions import Question
from srmu.results.attack_records import AttackRecord

NUM_EXAMPLES = 4


def few_shot(setting: AttackSetting, cells: Cells) -> AttackRecord:
    """Ask with examples."""
    forget = with_examples(setting.tested, setting.given)
    kept = {name: with_examples(group, setting.kept_given) for name, group in setting.kept.items()}
    after = ask_both(setting, forget, kept)
    return record_of(setting, cells, after, settings={"examples": NUM_EXAMPLES})


def with_examples(questions: Sequence[Question], pool: Sequence[Question]) -> list[Question]:
    """Each question after examples from the pool, never one of its own fact."""
    return [_with_examples(question, pool) for question in questions]


def _with_examples(question: Question, pool: Sequence[Question]) -> Question:
    chosen: dict[str, Question] = {}
    for other in pool:
        if fact_of(other) != fact_of(question):
            chosen.setdefault(fact_of(other), other)
        if len(chosen) == NUM_EXAMPLES:
            break
    examples = "".join(statement(other) + "\n\n" for other in chosen.values())
    return dataclasses.replace(question, prompt=examples + question.prompt)
