"""Attacks on a result: one file each, with definition, source and budget in its docstring; `runner.py` runs them."""
