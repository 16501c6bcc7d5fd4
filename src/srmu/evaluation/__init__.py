"""Measurements on a model and a tokenizer; this room knows nothing of training."""
