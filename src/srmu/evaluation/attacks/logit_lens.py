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
from torch import Tensor, nn

from srmu.evaluation.attacks.asking import OtherMeasure, record_of_measure
from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.hidden import decoder_layers, last_hidden_states
from srmu.evaluation.attacks.outcome import NotApplicable
from srmu.evaluation.attacks.setting import SIDES, AttackSetting, chance_of
from srmu.evaluation.encoding import encode_pairs
from srmu.inputs.questions import Question
from srmu.results.attack_records import AttackRecord, Setting
from srmu.surgery.taps import hidden_of


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


def final_norm(model: Any) -> nn.Module:
    """What stands between the last layer and the head, found by a pass over one token.

    Returns:
        The module outside the layers whose output the head reads; `nn.Identity` where it reads the last layer's.

    Raises:
        NotApplicable: The head reads something else.
    """
    layers, head = decoder_layers(model), model.get_output_embeddings()
    within = {id(module) for layer in layers for module in layer.modules()} | {id(head)}
    outside = [module for module in model.modules() if not list(module.children()) and id(module) not in within]
    made: list[tuple[nn.Module, Any]] = []
    read: list[Tensor] = []
    hooks = [module.register_forward_hook(lambda own, _, out: made.append((own, out))) for module in outside]
    hooks.append(layers[-1].register_forward_hook(lambda own, _, out: made.append((nn.Identity(), hidden_of(out)))))
    hooks.append(head.register_forward_pre_hook(lambda _, given: read.append(given[0])))
    try:
        with torch.inference_mode():
            # Not the first token, whose embedding may be all zeros, for padding.
            model(input_ids=torch.full((1, 1), head.weight.shape[0] // 2, device=model.device), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    same = [module for module, out in made if torch.is_tensor(out) and torch.equal(out, read[0])]
    if not same:
        raise NotApplicable(f"what a {type(model).__name__} puts between its last layer and its head is not known")
    return same[0]
