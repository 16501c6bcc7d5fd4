"""Independent float64 oracle of the method: formulas in NumPy, and a plain two-model run in torch."""
