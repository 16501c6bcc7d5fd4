"""WMDP- and MMLU-shaped questions on the demo's model, here and through lm-evaluation-harness, item by item.

    python benchmarks/wmdp_parity.py

The questions are of countries and elements, in the schemas and with the prompts of `wmdp_bio`, of two subjects of
`mmlu` and of `wmdp_bio_cloze`; written to `benchmarks/results/wmdp_parity.json` are how many items agree, both
accuracies and the time each took; rows of a dtype that is not asked for stay. A minute a dtype on an idle core.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from srmu.cli.console import TerminalReporter
from srmu.demo.facts import relation_facts
from srmu.demo.model import demo_model
from srmu.demo.questions import make_question
from srmu.evaluation.benchmarks.wmdp import score_wmdp
from srmu.evaluation.benchmarks.wmdp_data import read_wmdp
from srmu.evaluation.benchmarks.wmdp_harness import score_wmdp_by_harness
from srmu.evaluation.loading import load_causal_lm, load_tokenizer
from srmu.runtime.files import write_json_atomic

RESULTS = Path(__file__).parent / "results" / "wmdp_parity.json"
PARTS = ("bio", "mmlu", "bio_cloze")
_ASKED = {
    "capital": "What is the capital of {subject}?",
    "symbol": "What is the chemical symbol of {subject}?",
}


def write_questions(folder: Path, number: int) -> None:
    """The three files, each with at most so many questions; MMLU's subjects are `capital` and `symbol`."""
    records = {}
    for relation, form in _ASKED.items():
        facts = relation_facts(relation)
        asked = [make_question(fact, form, facts, 0) for fact in facts]
        records[relation] = [
            {"question": one.prompt, "choices": list(one.choices), "answer": one.answer} for one in asked
        ]
    half = number // 2
    both = [{**record, "subject": name} for name, rows in records.items() for record in rows[:half]]
    files = {"wmdp_bio": records["symbol"][:number], "mmlu": both, "wmdp_bio_cloze": records["capital"][:number]}
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def main() -> None:
    """Ask in both ways and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=40, help="most of each part")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    arguments = parser.parse_args()
    reporter, rows = TerminalReporter(), []
    path = demo_model(reporter)
    tokenizer = load_tokenizer(path)
    with tempfile.TemporaryDirectory() as folder:
        write_questions(Path(folder), arguments.questions)
        data = read_wmdp(folder, PARTS)
    for dtype in arguments.dtypes:
        model = load_causal_lm(path, dtype=getattr(torch, dtype))
        found, seconds = [], []
        for score in (score_wmdp, score_wmdp_by_harness):
            started = time.perf_counter()
            found.append(score(model, tokenizer, data, reporter=reporter))
            seconds.append(round(time.perf_counter() - started, 1))
        ours, theirs = found
        for part in PARTS:
            row = {
                "model": path.name, "dtype": dtype, "part": part, "items": len(ours[part].right),
                "items_that_agree": int(np.sum(ours[part].right == theirs[part].right)),
                "accuracy": ours[part].accuracy, "harness_accuracy": theirs[part].accuracy,
                "seconds_all_parts": seconds[0], "harness_seconds_all_parts": seconds[1],
            }  # fmt: skip
            print(row)
            rows.append(row)
    former = json.loads(RESULTS.read_text()) if RESULTS.is_file() else []
    write_json_atomic(RESULTS, [*(row for row in former if row["dtype"] not in arguments.dtypes), *rows])


if __name__ == "__main__":
    main()
