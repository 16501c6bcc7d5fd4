"""Magnitude pruning: does what was forgotten come back when the smallest weights are set to zero?

Definition: in each matrix of the decoder layers the 10 % and then the 30 % of entries with the smallest magnitude
become zero (more where entries are equal), in the result and, as the control, in the base. Embeddings, vocabulary head,
norms and biases stay. A change that lies in small weights is undone by this; one whose effect hangs on few weights is
not. Source: arXiv 2402.05162 finds that removing about 3 % of the weights, chosen by their part in it, breaks safety
alignment and leaves utility (abstract read); choice by magnitude, which needs no data, and the use on unlearned models
are ours. Budget: two passes over the questions per model; no training. Cost: a partial sort of each matrix.
"""

from typing import Any

import torch

from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.hidden import decoder_layers
from srmu.evaluation.attacks.measured import Measured, measure
from srmu.evaluation.attacks.setting import SIDES, AttackSetting
from srmu.evaluation.attacks.sweeps import record_of_sweep
from srmu.results.attack_records import AttackRecord

SHARES = (0.1, 0.3)


def prune(setting: AttackSetting, cells: Cells) -> AttackRecord:
    """The share that brings back most of those that count."""
    after: dict[float, dict[str, Measured]] = {share: {} for share in SHARES}
    for side in SIDES:
        model = setting.subjects[side].fresh()
        for share in SHARES:
            # What a smaller share took stays smallest.
            prune_(model, share)
            after[share][side] = measure(setting, model)
    return record_of_sweep(setting, cells, "share of weights set to zero", after)


def prune_(model: Any, share: float) -> None:
    """Set the smallest entries of each matrix of the decoder layers to zero, in place."""
    with torch.no_grad():
        for parameter in decoder_layers(model).parameters():
            count = round(share * parameter.numel())
            if parameter.dim() < 2 or count < 1:
                continue
            magnitude = parameter.abs()
            threshold = magnitude.flatten().float().kthvalue(count).values
            parameter[magnitude.float() <= threshold] = 0
