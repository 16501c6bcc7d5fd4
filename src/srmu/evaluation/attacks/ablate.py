"""Direction ablation: take out of the residual stream what separates forget prompts from kept ones.

Definition: at one layer, the difference of means of the last prompt token's residual stream, forget minus kept; and
the top three directions: the same and the two main axes of the forget prompts about their mean. The span is projected
out after every decoder layer. The attacker chooses the layer (of three) and the number of directions by accuracy on
the given half, in each model for itself, and is judged on the tested half. Budget: six variants on the given half.

Source: arXiv 2406.11717 (refusal is one direction; its code also takes it out of what attention and MLP write) and, on
models unlearned by RMU, arXiv 2409.18025 (its code has a direction a layer, from questions that only the base answers).
One direction for all layers and the step to three are ours. Read: the code of both, the abstract of the second.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from srmu.evaluation.attacks.asking import record_of
from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.hidden import last_hidden_states, spread_layers, without_directions
from srmu.evaluation.attacks.measured import Measured, measure
from srmu.evaluation.attacks.setting import SIDES, AttackSetting
from srmu.results.attack_records import AttackRecord, Setting

NUM_DIRECTIONS = (1, 3)
_NUM_LAYERS = 3


def ablate(setting: AttackSetting, cells: Cells) -> AttackRecord:
    """The variant that is best on the given half, for each model."""
    after, chosen = {}, {}
    for side in SIDES:
        after[side], chosen[side] = _best(setting, setting.subjects[side].model())
    return record_of(setting, cells, after, chosen=chosen)


def _best(setting: AttackSetting, model: Any) -> tuple[Measured, dict[str, Setting]]:
    forget = last_hidden_states(model, setting.tokenizer, [q.prompt for q in setting.given])
    kept = last_hidden_states(model, setting.tokenizer, [q.prompt for q in setting.needed_kept_given()])
    variants = []
    for layer_id in spread_layers(len(forget), _NUM_LAYERS):
        basis = separating_directions(forget[layer_id], kept[layer_id], max(NUM_DIRECTIONS))
        for count in NUM_DIRECTIONS:
            with without_directions(model, basis[:count]):
                accuracy = setting.ask(model, setting.choosing).accuracy
            variants.append((accuracy, layer_id, count, basis[:count]))
    accuracy, layer_id, count, basis = max(variants, key=lambda variant: variant[0])
    with without_directions(model, basis):
        after = measure(setting, model)
    return after, {"layer": layer_id, "directions": count, "given_half": accuracy}


def separating_directions(
    forget: Float[Tensor, "forget hidden"], kept: Float[Tensor, "kept hidden"], count: int
) -> Float[Tensor, "count hidden"]:
    """Difference of means, then the main axes of the forget states about their mean; orthonormal rows."""
    difference = forget.mean(0) - kept.mean(0)
    axes = torch.linalg.svd(forget - forget.mean(0), full_matrices=False).Vh[: count - 1]
    return torch.linalg.qr(torch.cat([difference[None], axes]).T).Q.T
