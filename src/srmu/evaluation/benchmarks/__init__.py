"""The field's benchmarks, with their authors' metrics: data in, a model's numbers out."""
