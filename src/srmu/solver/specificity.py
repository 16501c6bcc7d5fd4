"""How specific a token is to the forget texts: a forget text also consists of words that the retain texts use."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from srmu.inputs.rows import TokenRows

LEAST_WEIGHT = 0.05
"""Of a token that the retain texts have as often as the forget texts: no step is left without anything to forget."""


def token_weights(forget: TokenRows, retain: Sequence[TokenRows]) -> Float[Tensor, " ids"]:
    """Weight of each token id in the forget loss: 1 where the forget texts alone have it, least where both do.

    With p_f and p_r the token's share of all forget and of all retain tokens, the weight is
    `sqrt((p_f - p_r) / (p_f + p_r))`, at least `LEAST_WEIGHT`. Half a token is added to the retain count.

    Args:
        forget: Rows to forget.
        retain: Rows of each retain source.

    Returns:
        `[ids]` float64, as many as the largest token id of all rows plus one.
    """
    forget_ids = torch.cat([row.long() for row in forget.token_ids])
    retain_ids = torch.cat([row.long() for rows in retain for row in rows.token_ids])
    size = int(max(forget_ids.max(), retain_ids.max())) + 1
    forget_share = torch.bincount(forget_ids, minlength=size).double() / len(forget_ids)
    retain_share = (torch.bincount(retain_ids, minlength=size) + 0.5).double() / len(retain_ids)
    specificity = (forget_share - retain_share) / (forget_share + retain_share)
    return specificity.clamp(min=LEAST_WEIGHT**2).sqrt()
