"""Names of a run directory's files."""

MANIFEST_FILE = "manifest.json"
RESULTS_FILE = "results.json"
IMPORTANCE_FILE = "importance.safetensors"
METRICS_FILE = "metrics.jsonl"
DELTA_FILE = "delta.safetensors"
CONFIG_FILE, STATE_FILE, CHOICE_FILE = UNFINISHED_FILES = ("config.json", "state.safetensors", "auto.json")
"""What only a run that is not finished holds."""
MODEL_DIR = "model"
QUESTIONS_DIR = "questions"
REPORT_FILE = "report.html"
CELLS_FILE = "attack_cells.json"
SUMS_FILE = "SHA256SUMS"
"""Hashes of all files of the run, in the format of `sha256sum`; it lists the manifest, which is written after it."""
SIGNATURE_FILE = f"{SUMS_FILE}.sig"
"""What `ssh-keygen -Y sign` makes of it."""


def is_read(name: str) -> bool:
    """Whether a file of that name, relative to a directory with a manifest, is one that srmu reads or calls its own.

    What only an unfinished run holds is none: a kill right after the manifest may leave it, and nothing reads it then.
    """
    ours = (MANIFEST_FILE, RESULTS_FILE, IMPORTANCE_FILE, METRICS_FILE, DELTA_FILE, REPORT_FILE, CELLS_FILE)
    return name in ours or name.startswith((f"{MODEL_DIR}/", f"{QUESTIONS_DIR}/"))
