"""What the parts of a target can be, by name; light, since settings and flags are made from it."""

from typing import Literal

Method = Literal["rmu", "adaptive-rmu", "srmu", "erasure", "counterfactual"]
ImportanceMapName = Literal["ratio", "difference", "product", "none"]
ActivationStatistic = Literal["abs", "rms", "signed"]
ForgetTokens = Literal["all", "specific"]
MapScope = Literal["dynamic", "running", "corpus"]
Misdirection = Literal["signs", "plus", "minus", "uniform"]
