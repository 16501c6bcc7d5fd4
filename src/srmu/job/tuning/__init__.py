"""Trials of settings on one model and one set of texts: `srmu unlearn --auto`, `srmu tune`, and the benchmarks."""
