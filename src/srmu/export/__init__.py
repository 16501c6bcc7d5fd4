"""The run directory: patched checkpoint, delta, manifest, model card, and their verification."""
