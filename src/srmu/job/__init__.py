"""The work of the commands: a run from its plan to its manifest, measuring, asking, overlap, tuning."""
