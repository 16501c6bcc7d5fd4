"""Do machine-made questions say what real ones say? The demo's forget texts, its base, and results between the two.

    python benchmarks/made_questions.py --runs runs/demo --results default paper rmu

Needs a demo's folder (`srmu demo`). Questions are made of its forget texts by its base, as `srmu questions` does. Base,
results, and mixtures of both (the changed matrices a quarter, a half and three quarters of the way) are asked the made
questions and the demo's own. Prints a table and writes `benchmarks/results/made_questions.json`.
"""

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from srmu.evaluation.made_questions import make_questions
from srmu.evaluation.model_pair import load_for_measuring
from srmu.evaluation.questions import score_questions
from srmu.inputs.corpora import read_corpus
from srmu.inputs.questions import read_questions
from srmu.results.manifest import read_manifest
from srmu.runtime.files import write_json_atomic
from srmu.runtime.progress import Reporter

OUT = Path(__file__).parent / "results" / "made_questions.json"
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def main() -> None:
    """Make, ask, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/demo"))
    parser.add_argument("--results", nargs="+", default=["default", "paper", "rmu"])
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    manifest = read_manifest(given.runs / given.results[0])
    base = load_for_measuring(Path(manifest.base.path), device="cpu", dtype="auto")
    documents = read_corpus([str(given.runs / "texts" / "forget.jsonl")], role="forget").documents
    started = time.process_time()
    made = make_questions(base.model, base.tokenizer, documents, reporter=Reporter())
    record: dict[str, Any] = {
        "texts": len(documents), "found": made.found, "made": len(made.items), "known": len(made.known),
        "beyond_chance": made.beyond_chance, "second_forms": dict(Counter(item.forms[1] for item in made.items)),
        "cpu_seconds": round(time.process_time() - started, 1), "points": [],
    }  # fmt: skip
    groups = {
        "real": read_questions(given.runs / "texts" / "questions-forget.jsonl"),
        "made": [question for item in made.known for question in item.questions],
    }
    known = score_questions(base.model, base.tokenizer, groups["real"]).correct_norm
    groups["real_known"] = [question for question, right in zip(groups["real"], known, strict=True) if right]
    record |= {"real": len(groups["real"]), "real_known": len(groups["real_known"])}
    for name in given.results:
        for share in SHARES[1 if record["points"] else 0 :]:
            mixed(base.model, given.runs / name, share)
            accuracy = {
                group: round(score_questions(base.model, base.tokenizer, asked).accuracy, 4)
                for group, asked in groups.items()
            }
            record["points"].append({"result": name if share else "base", "share": share, **accuracy})
            print(f"{record['points'][-1]}", flush=True)
        mixed(base.model, given.runs / name, 0.0)
    pairs = torch.tensor([[point["made"], point["real_known"]] for point in record["points"]], dtype=torch.float64)
    record["correlation"] = round(float(torch.corrcoef(pairs.T)[0, 1]), 4)
    record["mean_distance"] = round(float((pairs[:, 0] - pairs[:, 1]).abs().mean()), 4)
    write_json_atomic(given.out, record)
    print(json.dumps({key: value for key, value in record.items() if key != "points"}, indent=1))


def mixed(model: Any, run: Path, share: float) -> None:
    """Put the changed matrices of a run into the base, part of the way."""
    manifest = read_manifest(run)
    names = [change.name for change in manifest.changed]
    before, after = stored(Path(manifest.base.path), names), stored(run / "model", names)
    with torch.no_grad():
        for name in names:
            matrix = before[name].float() + share * (after[name].float() - before[name].float())
            model.get_parameter(name).copy_(matrix)


def stored(folder: Path, names: list[str]) -> dict[str, torch.Tensor]:
    """Tensors of a checkpoint by their names."""
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as content:
            found |= {name: content.get_tensor(name) for name in names if name in content.keys()}  # noqa: SIM118
    return found


if __name__ == "__main__":
    main()
