"""Logit lens: is the answer readable before the last layer?

Definition: the residual stream at the last prompt token of every layer goes through the final norm and the vocabulary
head; the choice whose first token is likeliest counts as the answer. Questions whose choices begin with the same token
are left out. The attacker chooses the layer on the given half, in each model for itself, and is judged on the tested
half. Source: the logit lens (nostalgebraist 2020, "interpreting GPT: the logit lens"), on unlearned models in arXiv
2409.18025, whose code reads the letters A to D, also after attention and MLP. Budget: one forward pass per question.
"""

from collections.abc import Sequence
from typing import Any

import torch

from srmu.evaluation.attacks.asking import OtherMeasure, record_of_measure
from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.hidden import last_hidden_states
from srmu.evaluation.attacks.outcome import NotApplicable
from srmu.evaluation.attacks.setting import SIDES, AttackSetting, chance_of
from srmu.evaluation.encoding import encode_pairs
from srmu.inputs.questions import Question
from srmu.results.attack_records import AttackRecord, Setting


def logit_lens(setting: AttackSetting, cells: Cells) -> AttackRecord:
    """Accuracy at the layer that is best on the given half."""
    groups = [_readable(setting, group) for group in (setting.given, setting.tested, setting.all_kept())]
    if not all(groups):
        raise NotApplicable("it needs questions whose choices begin with different tokens")
    given, tested, kept = groups
    found: dict[str, float] = {}
    layers: dict[str, dict[str, Setting]] = {}
    for side in SIDES:
        model = setting.subjects[side].model()
        by_layer = [_accuracy_by_layer(setting, model, group) for group in (given, tested, kept)]
        # Of equals the last: the top layer is the model's own answer.
        best = max(range(len(by_layer[0])), key=lambda layer: (by_layer[0][layer], layer))
        found[side] = by_layer[1][best]
        found["kept" if side == "result" else "kept_base"] = by_layer[2][best]
        layers[side] = {"layer": best, "tested_half_by_layer": tuple(by_layer[1])}
    chance = chance_of([question for question, _ in tested])
    measured = OtherMeasure(name="accuracy by first token", n=len(tested), chance=chance, **found)
    return record_of_measure(setting, cells, measured, chosen=layers)


def _readable(setting: AttackSetting, questions: Sequence[Question]) -> list[tuple[Question, list[int]]]:
    """Questions with the first token of each choice, where these differ."""
    kept = []
    for question in questions:
        pairs = encode_pairs(setting.tokenizer, question.prompt, [" " + choice for choice in question.choices])
        first = [continuation[0] for _, continuation in pairs]
        if len(set(first)) == len(first):
            kept.append((question, first))
    return kept


def _accuracy_by_layer(
    setting: AttackSetting, model: Any, questions: Sequence[tuple[Question, list[int]]]
) -> list[float]:
    hidden = last_hidden_states(model, setting.tokenizer, [question.prompt for question, _ in questions])
    norm, head = final_norm(model), model.get_output_embeddings()
    accuracies = []
    with torch.inference_mode():
        for states in hidden:
            logits = head(norm(states.to(model.device, model.dtype))).float().cpu()
            right = [
                int(logits[place, torch.tensor(first)].argmax()) == question.answer
                for place, (question, first) in enumerate(questions)
            ]
            accuracies.append(sum(right) / len(right))
    return accuracies


def final_norm(model: Any) -> Any:
    """The norm between the last layer and the head.

    Raises:
        NotApplicable: If the family keeps it where srmu does not know.
    """
    inner = getattr(model, model.base_model_prefix)
    for name in ("norm", "final_layer_norm", "ln_f"):
        if hasattr(inner, name):
            return getattr(inner, name)
    raise NotApplicable(f"the final norm of a {type(model).__name__} is not known")
