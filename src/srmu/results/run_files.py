"""Names of a run directory's files."""

MANIFEST_FILE = "manifest.json"
RESULTS_FILE = "results.json"
IMPORTANCE_FILE = "importance.safetensors"
METRICS_FILE = "metrics.jsonl"
MODEL_DIR = "model"
QUESTIONS_DIR = "questions"
