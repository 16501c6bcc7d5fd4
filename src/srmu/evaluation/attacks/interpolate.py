"""Merging with the base: at which share of the base does what was forgotten come back?

Definition: every changed parameter becomes `(1 - share) * result + share * base`, for shares from 0.1 to 0.5, and the
merged model is asked. The base merged with itself is the base, so recovery is judged against the untouched base, and
no share can destroy it. Who merges needs both models' weights; models are merged in practice to mix what they can do,
so this also happens without bad intent. A small share that brings much back says that the change only just hides what
was forgotten. Source: weights of fine-tuned models are interpolated in arXiv 2109.01903 and 2212.04089 (abstracts
known, not read again for this); its use on unlearned models is ours. Budget: five passes over the questions; no
training. Cost: two models in memory once.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.measured import before_attack, measure
from srmu.evaluation.attacks.setting import AttackSetting
from srmu.evaluation.attacks.sweeps import record_of_sweep
from srmu.results.attack_records import AttackRecord

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)


def interpolate(setting: AttackSetting, cells: Cells) -> AttackRecord:
    """The share that brings back most, and all of them."""
    untouched = before_attack(setting, cells)["base"]
    model = setting.subjects["result"].fresh()
    changed = changed_parameters(setting.subjects["base"].model(), model)
    setting.subjects["base"].drop()
    after = {}
    for share in SHARES:
        merge_(model, changed, share)
        after[share] = {"base": untouched, "result": measure(setting, model)}
    settings = {"changed_parameters": len(changed)}
    return record_of_sweep(setting, cells, "share of the base", after, settings=settings)


def changed_parameters(base: Any, result: Any) -> dict[str, tuple[Tensor, Tensor]]:
    """Copies of base's and result's tensor of each parameter that differs, on the CPU, by name."""
    before: dict[str, Tensor] = dict(base.named_parameters())
    changed = {}
    for name, parameter in result.named_parameters():
        pair = before[name].detach().cpu(), parameter.detach().cpu()
        if not torch.equal(*pair):
            changed[name] = (pair[0].clone(), pair[1].clone())
    return changed


def merge_(model: Any, changed: Mapping[str, tuple[Tensor, Tensor]], share: float) -> None:
    """Set each changed parameter to the mean of both, `share` of the base, in place; computed in float32."""
    with torch.no_grad():
        for name, (base, result) in changed.items():
            model.get_parameter(name).copy_(torch.lerp(result.float(), base.float(), share))
