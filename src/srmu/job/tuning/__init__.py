"""Trials of settings on one model and one set of texts: `srmu unlearn --search`, `srmu tune`, and the benchmarks."""
