"""Targets and losses of RMU, Adaptive RMU and SRMU: pure functions on tensors."""
