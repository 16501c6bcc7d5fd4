"""Activation steering: push the result's hidden states to where the base's are.

Definition: at one layer, the vector is the mean over the given half's prompts of the base's residual stream at the last
token, less the result's. It is added to the result's residual stream after that layer at every token, once or twice as
long. The attacker chooses the layer (of three) and the length by accuracy on the given half, and is judged on the
tested half, whose facts the vector was not made from. For the base the vector is zero, so it stays as it is. Control:
the result steered by a random vector of the same length at the same place, which shows what a push brings by itself.
Needs the base's weights. Source: arXiv 2411.02631 steers unlearned models by the difference between a question and an
anonymised form of it, without the base (abstract read); the difference to the base is ours, and stronger. Budget: a
forward pass per prompt and model, six variants on the given half, two on the tested. Cost: two models in memory.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from srmu.evaluation.attacks.asking import record_of
from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.hidden import last_hidden_states, spread_layers, with_added
from srmu.evaluation.attacks.measured import before_attack, measure
from srmu.evaluation.attacks.setting import AttackSetting
from srmu.results.attack_records import AttackRecord, Control

LENGTHS = (1.0, 2.0)
_NUM_LAYERS = 3


def steer(setting: AttackSetting, cells: Cells) -> AttackRecord:
    """The variant that is best on the given half."""
    before = before_attack(setting, cells)
    vectors = differences(setting)
    model = setting.subjects["result"].model()
    variants = []
    for layer_id in spread_layers(len(vectors), _NUM_LAYERS):
        for length in LENGTHS:
            with with_added(model, layer_id, length * vectors[layer_id]):
                variants.append((setting.ask(model, setting.choosing).accuracy, layer_id, length))
    accuracy, layer_id, length = max(variants, key=lambda variant: variant[0])
    vector = length * vectors[layer_id]
    with with_added(model, layer_id, vector):
        after = {"base": before["base"], "result": measure(setting, model)}
    with with_added(model, layer_id, random_like(vector, setting.seed)):
        pushed = measure(setting, model)
    return record_of(
        setting,
        cells,
        after,
        control=Control(model="result, random vector", forget=pushed.forget, kept=pushed.kept),
        chosen={"result": {"layer": layer_id, "length": length, "given_half": accuracy}},
    )


def differences(setting: AttackSetting) -> Float[Tensor, "layers hidden"]:
    """Base less result, mean over the given half's prompts, by layer."""
    return _mean_states(setting, "base") - _mean_states(setting, "result")


def _mean_states(setting: AttackSetting, side: str) -> Float[Tensor, "layers hidden"]:
    prompts = [question.prompt for question in setting.given]
    return last_hidden_states(setting.subjects[side].model(), setting.tokenizer, prompts).mean(1)


def random_like(vector: Float[Tensor, " hidden"], seed: int) -> Float[Tensor, " hidden"]:
    """A Gaussian vector of the same length."""
    noise = torch.randn(vector.shape, generator=torch.Generator().manual_seed(seed))
    return noise * (vector.norm() / noise.norm())
