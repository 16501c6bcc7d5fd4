"""Shape aliases and the small frozen records that pass between the rooms."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

Hidden = Float[Tensor, "batch seq hidden"]
TokenIds = Int[Tensor, "batch seq"]
TokenMask = Bool[Tensor, "batch seq"]
TokenWeights = Float[Tensor, "batch seq"]
Feature = Float[Tensor, "hidden"]
Scalar = Float[Tensor, ""]


@dataclass(frozen=True)
class TokenBatch:
    """Right-padded rows.

    Attributes:
        token_ids: `[batch, seq]` int64; padding holds any valid id.
        real_mask: `[batch, seq]` bool, true where a token is real (not padding).
        row_ids: Position of each row in its corpus, length `batch`.
    """

    token_ids: TokenIds
    real_mask: TokenMask
    row_ids: tuple[int, ...]
