"""How improbable answers are to a model: what all of TOFU's numbers but ROUGE are made of."""

import numpy as np
from transformers import PreTrainedModel

from srmu.errors import InputError
from srmu.evaluation.prefix_trees import Pair, continuation_log_likelihoods
from srmu.inputs.generation import max_positions
from srmu.runtime.progress import Progress

BATCH_TOKENS = 4096


def answer_losses(model: PreTrainedModel, pairs: list[Pair], *, progress: Progress | None = None) -> np.ndarray:
    """Mean nats per token of each answer after its prompt, `[pairs]`, float64; prompts are computed once.

    Raises:
        InputError: An answer is longer than the model's positions, or a loss is not finite.
    """
    longest = max(len(answer) for _, answer in pairs)
    if longest > max_positions(model):
        raise InputError(
            f"An answer has {longest} tokens, and the model has {max_positions(model)} positions. Use a longer model."
        )
    sums = continuation_log_likelihoods(model, pairs, batch_tokens=BATCH_TOKENS, progress=progress)
    losses = -sums / np.array([len(answer) for _, answer in pairs])
    if not np.isfinite(losses).all():
        raise InputError(
            f"The model gives {int((~np.isfinite(losses)).sum())} of {len(losses)} answers no finite probability, so "
            "none of TOFU's numbers is defined. Check its weights, or compute with --dtype float32."
        )
    return losses
