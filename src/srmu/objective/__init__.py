"""Targets and losses of RMU, Adaptive RMU, SRMU, erasure and counterfactuals: pure functions on tensors."""
