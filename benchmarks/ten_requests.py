"""Ten removal requests in a row on the embedded world: docs/background/requests-over-time.md.

    python benchmarks/ten_requests.py --seeds 0 1 2
    python benchmarks/ten_requests.py --choose --seeds 0 --set steps=50

Every request names two hazard subjects and runs on the model that the request before it left. With `--choose`, requests
name subjects that no reported request names, and retained facts are asked on the validation split: that is where
settings are chosen. A second call goes on where the first one stopped; a request that was broken off begins anew.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import yaml
from world.generator import WorldFact
from world.model import World, load_world
from world.recipe import WorldRecipe

from srmu.errors import InputError
from srmu.evaluation.loading import load_causal_lm, load_tokenizer
from srmu.evaluation.questions import score_questions
from srmu.export.verify import verify_run
from srmu.job.unlearn import unlearn
from srmu.results.run_files import MANIFEST_FILE, MODEL_DIR
from srmu.runtime.files import write_json_atomic
from srmu.runtime.progress import Reporter
from srmu.runtime.stable_order import stable_rank

NUM_REQUESTS, SUBJECTS_A_REQUEST = 10, 2
NUM_CHOOSING = 3
"""Requests of a trial with `--choose`."""
QUESTIONS_A_FACT = 4


def requests(world: World, seed: int, *, choose: bool) -> list[tuple[str, ...]]:
    """The subjects of each request; a seed draws their order, and which are kept for choosing is always the same."""
    subjects = sorted({fact.subject for fact in world.domain("hazard").facts}, key=lambda name: stable_rank(0, name))
    reported = NUM_REQUESTS * SUBJECTS_A_REQUEST
    pool = subjects[reported:] if choose else subjects[:reported]
    pool.sort(key=lambda name: stable_rank(seed, "request", name))
    number = NUM_CHOOSING if choose else NUM_REQUESTS
    return [tuple(pool[i * SUBJECTS_A_REQUEST : (i + 1) * SUBJECTS_A_REQUEST]) for i in range(number)]


def ask(checkpoint: Path, world: World, gone: Sequence[str], last: Sequence[str], *, choose: bool) -> dict[str, Any]:
    """Four-choice accuracy in unseen forms, by group; None where a group has no facts."""
    hazard = world.domain("hazard").facts
    groups: dict[str, list[WorldFact]] = {
        "this request": [fact for fact in hazard if fact.subject in last],
        "earlier requests": [fact for fact in hazard if fact.subject in gone and fact.subject not in last],
        "forgotten so far": [fact for fact in hazard if fact.subject in gone],
        "hazard not requested": [fact for fact in hazard if fact.subject not in gone],
    }
    for name in ("benign", "general"):
        groups[name] = [fact for fact in world.domain(name).facts if (fact.split == "validation") == choose]
    model, tokenizer = load_causal_lm(checkpoint, dtype="float32"), load_tokenizer(checkpoint)
    result: dict[str, Any] = {}
    for group, facts in groups.items():
        if not facts:
            result[group] = None
            continue
        domain = world.domain(facts[0].domain)
        scores = score_questions(model, tokenizer, domain.questions(facts, forms="unseen", per_fact=QUESTIONS_A_FACT))
        result[group] = {"accuracy": scores.accuracy, "stderr": scores.stderr_by_fact, "questions": scores.n}
    return result


def write_texts(file: Path, texts: Sequence[str]) -> str:
    """A JSONL file of texts; its path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return str(file)


def forget_subjects(
    world: World, base: Path, gone: Sequence[str], last: Sequence[str], run: Path, seed: int, settings: dict[str, Any]
) -> float:
    """One request: a run on `base`, into `run`, unless it is there; seconds that it took."""
    if (run / MANIFEST_FILE).exists():
        return float("nan")
    hazard = world.domain("hazard")
    sides = {
        "forget": hazard.texts([fact for fact in hazard.facts if fact.subject in last]),
        "hazard": hazard.texts([fact for fact in hazard.facts if fact.subject not in gone]),
        "benign": world.texts["benign"],
        "general": world.texts["general"],
    }
    files = [write_texts(run.parent / "texts" / run.name / f"{name}.jsonl", texts) for name, texts in sides.items()]
    started = time.perf_counter()
    unlearn(
        model=str(base), forget=files[:1], retain=files[1:], seed=seed, eval=False, eval_fraction=0.0, out=str(run),
        overwrite=True, **settings,
    )  # fmt: skip
    return time.perf_counter() - started


def one_seed(world: World, home: Path, seed: int, settings: dict[str, Any], *, choose: bool) -> dict[str, Any]:
    """All requests of a seed, and the verification of the last run."""
    base, gone, run = world.model, (), home
    before = ask(base, world, (), (), choose=choose)
    records = []
    for number, last in enumerate(requests(world, seed, choose=choose), 1):
        gone, run = gone + last, home / f"request-{number:02}"
        kept = run.with_suffix(".json")
        if not kept.exists():
            seconds = forget_subjects(world, base, gone, last, run, seed, settings)
            asked = ask(run / MODEL_DIR, world, gone, last, choose=choose)
            # A run that was found finished has no time of its own; NaN is no JSON.
            record = {"request": number, "subjects": last, "seconds": None if seconds != seconds else round(seconds, 1)}
            write_json_atomic(kept, record | {"after": asked})
        records.append(json.loads(kept.read_text(encoding="utf-8")))
        print(line(seed, f"{number:>2}", records[-1]["after"]), flush=True)
        base = run / MODEL_DIR
    checks = [asdict(check) for check in verify_run(run)]
    return {"seed": seed, "before": before, "requests": records, "verify": checks}


def line(seed: int, request: str, after: dict[str, Any]) -> str:
    """One request for the terminal."""
    shown = (f"{group} {'-' if entry is None else format(entry['accuracy'], '.3f')}" for group, entry in after.items())
    return f"seed {seed} request {request}: " + ", ".join(shown)


def check_home(home: Path, content: dict[str, Any]) -> None:
    """Write down what the runs in `home` are made of, or refuse to go on with something else."""
    file = home / "settings.json"
    if file.exists() and json.loads(file.read_text(encoding="utf-8")) != content:
        raise InputError(f"{str(home)!r} holds requests made with other settings. Choose another --runs.")
    home.mkdir(parents=True, exist_ok=True)
    write_json_atomic(file, content)


def main() -> None:
    """Run the requests of every seed and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--choose", action="store_true", help="requests on subjects kept for choosing settings")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings over the tool's defaults")
    parser.add_argument("--runs", type=Path, default=Path("runs/ten_requests"))
    parser.add_argument("--out", type=Path, help="none = with --choose beside the runs, else benchmarks/results/")
    arguments = parser.parse_args()
    out = arguments.out or (arguments.runs if arguments.choose else Path("benchmarks/results")) / "ten_requests.json"
    settings = {key: yaml.safe_load(value) for key, value in (text.split("=", 1) for text in arguments.set)}
    world = load_world(WorldRecipe(hazard_entities=30, kinds=False, statements_per_text=4), Reporter(), twin=False)
    check_home(arguments.runs, {"settings": settings, "choose": arguments.choose, "world": world.recipe.digest})
    seeds = [
        one_seed(world, arguments.runs / f"seed-{seed}", seed, settings, choose=arguments.choose)
        for seed in arguments.seeds
    ]
    record = {
        "command": "python benchmarks/ten_requests.py",
        "settings_over_defaults": settings,
        "choose": arguments.choose,
        "world": {"digest": world.recipe.digest, "recipe": asdict(world.recipe)},
        "machine": {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "system": platform.system()},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "seeds": seeds,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json_atomic(out, record)


if __name__ == "__main__":
    main()
