"""Try settings on a demo request and ask its validation questions: how the defaults were chosen (docs/log.md).

    python benchmarks/try_settings.py africa retain_weight=60 retain_weight=30,method=rmu --seeds 0 1

Each argument after the request is one trial: settings over the defaults, separated by commas. Test questions are asked
with `--split test` alone, after everything has been chosen. One JSON line a trial and seed goes to `--out`.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from srmu.demo.model import demo_model
from srmu.demo.requests import REQUESTS, Request
from srmu.evaluation.loading import load_causal_lm, load_tokenizer
from srmu.evaluation.questions import score_questions
from srmu.evaluation.texts import text_scores
from srmu.reporting import Reporter
from srmu.run import unlearn


def ask(checkpoint: Path, request: Request, split: str) -> dict[str, float]:
    """Accuracy and answer loss of each group, and nats a token of ordinary text."""
    model, tokenizer = load_causal_lm(checkpoint, dtype="float32"), load_tokenizer(checkpoint)
    questions = request.questions if split == "test" else request.validation_questions
    texts = request.text if split == "test" else request.validation_text
    result = {}
    for group, asked in questions.items():
        scores = score_questions(model, tokenizer, asked)
        result[group], result[f"{group}_nll"] = scores.accuracy, scores.nll
    result["text"] = text_scores(model, tokenizer, texts).nll
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
    parser.add_argument("--out", type=Path, default=Path("runs/trials.jsonl"))
    arguments = parser.parse_args()
    request, base = REQUESTS[arguments.request](), demo_model(Reporter())
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    before = ask(base, request, arguments.split)
    print("base", before)
    for trial in arguments.trials:
        for seed in arguments.seeds:
            with tempfile.TemporaryDirectory() as folder:
                sides = {"forget": request.forget, "told": request.retain_entangled, "text": request.retain_ordinary}
                for name, texts in sides.items():
                    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
                    (Path(folder) / f"{name}.jsonl").write_text(lines, encoding="utf-8")
                files = [f"{folder}/{name}.jsonl" for name in sides]
                started = time.perf_counter()
                run = unlearn(
                    model=str(base), forget=files[:1], retain=files[1:], seed=seed, eval=False, heldout=0.0,
                    out=f"{folder}/run", **parse(trial),
                )  # fmt: skip
                seconds = round(time.perf_counter() - started, 1)
                after = ask(run.model_dir, request, arguments.split)
            record = {"request": request.name, "split": arguments.split, "settings": parse(trial), "seed": seed}
            record |= {"seconds": seconds, "base": before, "result": after}
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            print(trial or "defaults", "seed", seed, f"{seconds} s", after, flush=True)


if __name__ == "__main__":
    main()
