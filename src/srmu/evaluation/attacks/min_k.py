"""Membership by Min-K %: are forget documents still more familiar than unseen ones?

Definition: a document's score is the mean log-probability of its least likely 20 % of tokens; the measure is the area
under the ROC curve of forget documents against unseen ones, 0.5 where nothing separates them. With `--texts forget=`
and `--texts unseen=` those are compared. Else documents are made from the tested questions: with the right answer,
against the same sentence with a wrong one, which no training text holds. Source: arXiv 2310.16789, which also audits
unlearning so (abstract read); the made documents, a substitute, are ours. Budget: one forward pass per document.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from srmu.evaluation.attacks.asking import OtherMeasure, record_of_measure
from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.setting import SIDES, AttackSetting
from srmu.evaluation.attacks.statements import false_statements, statement
from srmu.evaluation.membership import area_under_roc, min_k_probability
from srmu.evaluation.texts import TextScores, text_scores
from srmu.inputs.questions import Question
from srmu.results.attack_records import AttackRecord, Setting

LEAST_LIKELY = 0.2


def min_k(setting: AttackSetting, cells: Cells) -> AttackRecord:
    """Area under the ROC curve."""
    own = "forget" in setting.texts and "unseen" in setting.texts
    members = list(setting.texts["forget"]) if own else [statement(question) for question in setting.tested]
    others = list(setting.texts["unseen"]) if own else false_statements(setting.tested)
    kept: Sequence[Question] = setting.all_kept()
    found: dict[str, float] = {}
    for side in SIDES:
        model = setting.subjects[side].model()
        found[side] = _area(setting, model, members, others)
        name = "kept" if side == "result" else "kept_base"
        found[name] = _area(setting, model, [statement(question) for question in kept], false_statements(kept))
    about: dict[str, Setting] = {
        "documents": "given" if own else "made from the questions",
        "members": len(members),
        "others": len(others),
    }
    measured = OtherMeasure(name="area under the ROC curve", n=len(members), chance=0.5, **found)
    return record_of_measure(setting, cells, measured, settings=about)


def _area(setting: AttackSetting, model: Any, members: Sequence[str], others: Sequence[str]) -> float:
    scores = [min_k_scores(text_scores(model, setting.tokenizer, texts)) for texts in (members, others)]
    return area_under_roc(*scores)


def min_k_scores(scores: TextScores) -> np.ndarray:
    """Mean log-probability of each document's least likely tokens; documents without a predicted token are left out."""
    parts = np.split(-scores.token_nll, np.cumsum(scores.document_tokens)[:-1])
    return np.array([min_k_probability(part, LEAST_LIKELY) for part in parts if len(part)])
