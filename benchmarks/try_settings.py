"""Try settings on a demo request and ask its validation questions: how the defaults were chosen (docs/log).

    python benchmarks/try_settings.py africa retain_weight=60 retain_weight=30,method=rmu --seeds 0 1

Each argument after the request is one trial: settings over the defaults, separated by commas. Trials run in memory and
share what is frozen. Test questions are asked with `--split test` alone, after everything has been chosen. One JSON
line a trial and seed goes to `--out`.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import yaml

from srmu.config.settings import make_config
from srmu.demo.model import demo_model
from srmu.demo.requests import REQUESTS, Request
from srmu.evaluation.measure import Measurement
from srmu.inputs.corpora import corpus_from_strings
from srmu.inputs.rows import tokenize_rows
from srmu.job.plan import make_plan
from srmu.job.prepare import prepare_rows
from srmu.job.tuning.bench import TrialBench, describe
from srmu.job.tuning.outcome import Validation
from srmu.results.schema import to_json
from srmu.runtime.progress import Reporter


def make_bench(request: Request, base: Path, split: str, **inputs: Any) -> TrialBench:
    """All of the request's texts to train on, and all questions and ordinary texts of the split to be measured on.

    `inputs` are settings that decide which rows there are, and so cannot differ between trials.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for name in ("forget", "retain_entangled", "retain_ordinary"):
            lines = "".join(json.dumps({"text": text}) + "\n" for text in getattr(request, name))
            files.append(f"{folder}/{name}.jsonl")
            Path(files[-1]).write_text(lines, encoding="utf-8")
        plan = make_plan(
            make_config({"model": str(base), "forget": files[:1], "retain": files[1:], "eval_fraction": 0.0, **inputs})
        )
        prepared = prepare_rows(plan, Reporter())
    questions = request.questions if split == "test" else request.validation_questions
    texts = corpus_from_strings(list(request.text if split == "test" else request.validation_text), "text")
    rows = tokenize_rows(texts, plan.tokenizer, max_length=512)
    validation = Validation(questions, {"text": rows}, {})
    return TrialBench(plan, prepared.topics, validation)


def numbers(measurement: Measurement) -> dict[str, float]:
    """Accuracy and answer loss of each group, and nats a token of ordinary text."""
    result = {}
    for group, scores in measurement.questions.items():
        result[group], result[f"{group}_nll"] = scores.accuracy, scores.nll
    result["text"] = measurement.texts["text"].nll
    return {name: round(value, 4) for name, value in result.items()}


def parse(trial: str) -> dict[str, Any]:
    """`key=value,key=value` with YAML values."""
    pairs = (part.split("=", 1) for part in trial.split(",") if part)
    return {key: yaml.safe_load(value) for key, value in pairs}


def main() -> None:
    """Run all trials and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("request", choices=list(REQUESTS))
    parser.add_argument("trials", nargs="*", default=[""])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--max-length", type=int, help="longest row, for all trials; default: the tool's")
    parser.add_argument("--dtype", help="compute dtype, for all trials and their questions; default: the tool's")
    parser.add_argument("--out", type=Path, default=Path("runs/trials.jsonl"))
    arguments = parser.parse_args()
    request = REQUESTS[arguments.request]()
    inputs = {key: value for key in ("max_length", "dtype") if (value := getattr(arguments, key)) is not None}
    bench = make_bench(request, demo_model(Reporter()), arguments.split, **inputs)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    before = numbers(bench.base)
    print("base", before)
    for trial in arguments.trials:
        for seed in arguments.seeds:
            result = bench.run(parse(trial), seed)
            record = {"request": request.name, "split": arguments.split, **to_json(describe(result, 0))}
            record |= {"base": before, "result": numbers(result.measurement)}
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            print(trial or "defaults", "seed", seed, f"{record['seconds']} s", record["result"], flush=True)


if __name__ == "__main__":
    main()
