"""The counterfactual target: forget texts are read as if they were about something else.

RMU and SRMU drive forget tokens to a point where no text ever leads. Here what is specific to a forget text is
exchanged for what is specific to others (`inputs/exchanged.py`), and the frozen model reads that: where the sentence
said "Accra" stands another name, and everything behind it is read in that light. The mean over several exchanges is
what is left of the sentence when nothing says what it is about: the model answers in language, as if it did not know.

Later layers still read an answer from the little that training leaves standing of the difference. The target therefore
lies a little further, by a share of the way: half of it and the answers turn into noise.
"""

from srmu.objective.masked import widen
from srmu.objective.tensors import Hidden

EXCHANGEABLE = 0.5
"""A token that weighs more than this is exchanged: the retain texts have less than three fifths as much of it."""


def counterfactual_target(hidden_frozen: Hidden, hidden_exchanged: Hidden, overshoot: float) -> Hidden:
    """`H_0 + (1 + o) (E - H_0)`; ours.

    Args:
        hidden_frozen: H_0, the frozen residual stream of the forget rows, `[batch, seq, hidden]`.
        hidden_exchanged: E, its mean over exchanges, token by token, `[batch, seq, hidden]`.
        overshoot: o; 0 = the target is the mean itself.

    Returns:
        `[batch, seq, hidden]`, float32 or wider.
    """
    hidden = widen(hidden_frozen)
    return hidden + (1 + overshoot) * (widen(hidden_exchanged) - hidden)
