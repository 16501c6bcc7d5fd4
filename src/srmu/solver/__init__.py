"""Solvers: what turns a target into changed matrices."""
