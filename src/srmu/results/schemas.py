"""The JSON Schemas of all files that srmu writes for others to read."""

import json
from pathlib import Path

from srmu.results.attack_report import AttackReport
from srmu.results.benchmarks.records import BenchmarkRecord
from srmu.results.erasure.records import Entry, ErasureRequest
from srmu.results.manifest import Manifest
from srmu.results.records import Answer, EvaluationReport, Results
from srmu.results.schema import json_schema
from srmu.results.study import StudyRecord

SCHEMAS: dict[str, type] = {
    "results": Results,
    "manifest": Manifest,
    "trials": StudyRecord,
    "evaluate": EvaluationReport,
    "attack": AttackReport,
    "benchmark": BenchmarkRecord,
    "answer": Answer,
    "erasure-request": ErasureRequest,
    "erasure-log": Entry,
}
"""Name of the schema -> its record: files of a run or a study, and what commands print with `--json`."""


def write_schemas(folder: str | Path) -> list[Path]:
    """Write one file per schema into a folder, which is made where it is missing; returns the files."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, record in SCHEMAS.items():
        file = folder / f"{name}.schema.json"
        file.write_text(json.dumps(json_schema(record), indent=2) + "\n", encoding="utf-8")
        files.append(file)
    return files


if __name__ == "__main__":
    import sys

    write_schemas(sys.argv[1])
