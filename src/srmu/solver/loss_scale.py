"""float16 has too few small numbers for the gradient of a mean over many entries: losses are scaled up for it."""

import torch
from torch import Tensor

# Losses are scaled by about their number of entries, times 2^-8 to leave room above for sums over tokens and a large
# alpha; a power of two changes no digit.
HALF_LOSS_SHIFT = 8.0


def loss_scale(dtype: torch.dtype, num_entries: Tensor) -> Tensor | float:
    """What losses are multiplied with before the backward pass, and gradients divided by after it.

    Args:
        dtype: In which activations are computed.
        num_entries: Counted tokens times features, scalar.
    """
    if dtype != torch.float16:
        return 1.0
    return torch.exp2(torch.floor(torch.log2(num_entries)) - HALF_LOSS_SHIFT)
