"""Targets and losses of RMU, Adaptive RMU, SRMU and erasure: pure functions on tensors."""
