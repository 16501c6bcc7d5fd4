"""The selective protocol: what a run forgets, and what it does to all that it did not name.

    python benchmarks/selective_protocol.py   # everything; resumable, takes days
    python benchmarks/selective_protocol.py --models SmolLM2-135M --targets 'facts: capital of Africa' --seeds 0
    python benchmarks/selective_protocol.py --phase tune --out runs/looks   # to choose by, on other requests
    python benchmarks/selective_protocol.py --table --publish   # only the rows of the cells there are

A cell is one model, request, retain condition, cut into documents, method and seed: trained in memory with the user's
defaults, or with a preset, or with the settings that `benchmarks/results/tuned.json` gives a published method for this
kind. Each is a line of `cells.jsonl` in `--out`, question by question; what is there is not computed again. The cells
of the report are committed, so that the next machine goes on where the last one stopped.
"""

import argparse
import json
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from cells import read_cells
from selective.models import MODELS, model_path
from selective.requests import REPORT, TUNE, Documents, Retain, SelectiveRequest, Target, known_facts, make_request
from selective.rows import make_rows

from srmu.config.presets import PUBLISHED
from srmu.config.settings import make_config
from srmu.errors import RunError
from srmu.evaluation.audit.audit import AuditItems, audit, prepare_audit
from srmu.evaluation.completions import complete
from srmu.evaluation.fluency import Answers, base_nll, compare_fluency, language_nll
from srmu.evaluation.loading import load_causal_lm
from srmu.evaluation.questions import score_questions
from srmu.job.plan import make_plan
from srmu.job.prepare import prepare_rows
from srmu.job.tuning.bench import TrialBench
from srmu.job.tuning.outcome import Validation
from srmu.results.schema import to_json
from srmu.runtime.cache import cache_directory
from srmu.runtime.files import write_atomic
from srmu.runtime.progress import Reporter

RESULTS = Path(__file__).parent / "results"
METHODS: dict[str, dict[str, Any]] = {
    "default": {},
    "kind not named": {},
    "erase": {"preset": "erase"},
    "counterfactual": {"preset": "counterfactual"},
    "repair": {"preset": "repair"},
    "erase near": {"preset": "erase", "retain": ["near"]},
    "robust": {"preset": "robust"},
    "rmu": {**PUBLISHED, "method": "rmu"},
    "adaptive-rmu": {**PUBLISHED, "method": "adaptive-rmu"},
    **{f"srmu {name}": {**PUBLISHED, "importance_map": name} for name in ("ratio", "difference", "product")},
}
TUNED = tuple(name for name, settings in METHODS.items() if "method" in settings or "importance_map" in settings)
# In the kind `facts` the default has `--request facts`, which is `erase`; elsewhere no kind is named.
ONLY_FACTS, NOT_FACTS = ("kind not named",), ("erase",)
NUM_PROMPTS, NUM_SHOWN = 24, 3


class Judge:
    """Asks one model for one request: the base once, then each result of it.

    Args:
        model: The base, whole; results are put into it.
        tokenizer: Its tokenizer.
        request: What is asked.
        seed: Of the audit's texts.
    """

    def __init__(self, model: Any, tokenizer: Any, request: SelectiveRequest, seed: int):
        self.tokenizer, self.request = tokenizer, request
        self.base = self._answers(model)
        self.known: AuditItems = prepare_audit(model, tokenizer, request.forget, seed=seed, reporter=Reporter())
        self.prompts = [question.prompt for question in request.questions["forget"][:NUM_PROMPTS]]
        self.said = complete(model, tokenizer, self.prompts)
        self.usual = Answers(self.prompts, self.said, base_nll(model, tokenizer, self.prompts, self.said))
        self.language = language_nll(model, tokenizer, self.prompts, self.said, self.usual.nll)

    def measure(self, model: Any) -> dict[str, Any]:
        """What a result answers, keeps of the audit, and says; the nats of its words are the caller's to add."""
        groups = {}
        for name, right in self._answers(model).items():
            facts = [question.fact for question in self.request.questions[name]]
            groups[name] = {"facts": facts, "base": self.base[name], "right": right}
        found = audit(model, self.tokenizer, self.known, reporter=Reporter())
        return {"groups": groups, "audit": to_json(found), "said": complete(model, self.tokenizer, self.prompts)}

    def fluency(self, base: Any, said: Sequence[str]) -> dict[str, float]:
        """The score of the base's answers and of a result's."""
        own = Answers(self.prompts, said, base_nll(base, self.tokenizer, self.prompts, said))
        found = compare_fluency(self.tokenizer, self.usual, own, self.language)
        return {"base": found.base.score, "result": found.result.score}

    def _answers(self, model: Any) -> dict[str, list[int]]:
        return {
            name: score_questions(model, self.tokenizer, list(questions)).correct_norm.astype(int).tolist()
            for name, questions in self.request.questions.items()
        }


@contextmanager
def _sources(request: SelectiveRequest, retain: Retain) -> Iterator[dict[str, list[str]]]:
    """The request's texts as files, as a user has them."""
    with tempfile.TemporaryDirectory() as folder:
        names = {"forget": [request.forget], "retain": request.retained(retain)}
        given: dict[str, list[str]] = {}
        for side, sources in names.items():
            for place, texts in enumerate(sources):
                file = Path(folder) / f"{side}{place}.jsonl"
                file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
                given.setdefault(side, []).append(str(file))
        yield given


def make_bench(model: Path, request: SelectiveRequest, retain: Retain, settings: dict[str, Any]) -> TrialBench:
    """Trials of a request whose rows these settings decide; retain sources among them come beside the request's."""
    with _sources(request, retain) as given:
        given["retain"] = [*given.get("retain", ()), *settings.get("retain", ())]
        settings = {name: value for name, value in settings.items() if name != "retain"}
        plan = make_plan(make_config({"model": str(model), **given, "eval_fraction": 0.0, **settings}))
        prepared = prepare_rows(plan, Reporter())
    return TrialBench(plan, prepared.topics, Validation({}, {}, {}))


def settings_of(method: str, kind: str, retain: Retain) -> dict[str, Any] | None:
    """Over the defaults; none where a published method was not tuned for this kind."""
    if method == "default" and kind == "facts" and retain != "none":
        return {"request": "facts"}
    if method not in TUNED:
        return dict(METHODS[method])
    tuned = json.loads((RESULTS / "tuned.json").read_text(encoding="utf-8"))
    points = tuned.get(f"real, {'domain' if kind == 'domain' else 'entities'}, {method}")
    return {**METHODS[method], **points[0]} if points else None


def known_of(name: str, path: Path) -> frozenset[str]:
    """Keys of the facts that a model knows; asked once, kept in the cache."""
    file = cache_directory() / f"selective-known-{name}.json"
    if not file.exists():
        plan = make_plan(make_config({"model": str(path), "forget": ["text:x y z"], "retain": ["general"]}))
        model = load_causal_lm(path, device=plan.device, dtype=plan.dtype)
        write_atomic(file, json.dumps(sorted(known_facts(model, plan.tokenizer))).encode())
    return frozenset(json.loads(file.read_text(encoding="utf-8")))


def run_case(
    name: str, target: Target, retain: Retain, documents: Documents, arguments: argparse.Namespace, file: Path
) -> None:
    """Run what is missing of one request under one condition, and append it."""
    done = {_key(cell) for cell in read_cells(file)}
    path = model_path(name, Reporter())
    for seed in arguments.seeds:
        cells = []
        for method in arguments.methods:
            if method in (NOT_FACTS if target.kind == "facts" else ONLY_FACTS):
                continue
            cell = {
                "model": name, "kind": target.kind, "request": target.name, "retain": retain, "documents": documents,
                "method": method, "seed": seed, "phase": arguments.phase,
            }  # fmt: skip
            if _key(cell) not in done:
                cells.append(cell)
        if not cells:
            continue
        validation = arguments.phase == "tune"
        request = make_request(target, known_of(name, path), seed=seed, documents=documents, validation=validation)
        judge, model = None, None
        for cell in cells:
            settings = settings_of(cell["method"], target.kind, retain)
            if settings is None:
                print(f"{target.name}: no tuned settings are committed for {cell['method']}, left out", flush=True)
                continue
            settings |= arguments.set
            bench = make_bench(path, request, retain, {**settings, "seed": seed})
            if model is None:
                model = bench.model
            bench.model = model
            judge = judge or Judge(model, bench.plan.tokenizer, request, seed)
            started = time.perf_counter()
            try:
                trained = bench.train({})
            except RunError as error:
                print(f"{target.name}, {cell['method']}: {error}", flush=True)
                continue
            seconds = time.perf_counter() - started
            with bench.holding(trained.solver.result):
                found = judge.measure(model)
            cell |= {"settings": arguments.set, "seconds": round(seconds, 1), "steps": len(trained.metrics), **found}
            cell["fluency"] = judge.fluency(model, found["said"])
            cell["said"] = found["said"][:NUM_SHOWN]
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(cell, ensure_ascii=False) + "\n")
            print(line(cell), flush=True)


def line(cell: dict[str, Any]) -> str:
    """A cell in one line: base and result of each group."""
    parts = [f"{name} {_mean(part['base']):.2f} > {_mean(part['right']):.2f}" for name, part in cell["groups"].items()]
    bank, names = cell["audit"]["bank"], cell["audit"]["neighbours"]
    for label, part in (("bank", bank), ("names", names)):
        if part:
            parts.append(f"{label} {part['base']:.2f} > {part['result']:.2f}")
    where = ", ".join(str(cell[key]) for key in ("model", "request", "retain", "documents", "method", "seed"))
    return f"{where}: {'; '.join(parts)}; fluency {cell['fluency']['result']:.2f}; {cell['seconds']:.0f} s"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _key(cell: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(cell[name] for name in ("model", "request", "retain", "documents", "method", "seed", "phase"))


def main() -> None:
    """Run what is missing, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS / "selective")
    parser.add_argument("--phase", choices=("tune", "report"), default="report")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--targets", nargs="+", help="names of requests; none given = all of the phase")
    parser.add_argument("--retain", nargs="+", choices=("given", "ordinary", "none"), default=["given"])
    parser.add_argument("--documents", nargs="+", choices=("short", "long"), default=["long"])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--set", type=json.loads, default={}, help="settings over all methods', as JSON: for looks")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--table", action="store_true", help="only the rows of the cells in --out")
    parser.add_argument("--publish", action="store_true", help="write benchmarks/results/selective.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "cells.jsonl"
    targets = [
        target
        for target in (TUNE if arguments.phase == "tune" else REPORT)
        if not arguments.targets or target.name in arguments.targets
    ]
    if not targets:
        parser.error("no request of this phase has such a name; see benchmarks/selective/requests.py")
    for name in [] if arguments.table else arguments.models:
        for target in targets:
            for retain in arguments.retain:
                for documents in arguments.documents:
                    run_case(name, target, retain, documents, arguments, file)
    rows = make_rows([cell for cell in read_cells(file) if cell["phase"] == "report"])
    if arguments.publish:
        (RESULTS / "selective.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        print(f"{len(rows)} rows; the docs show them")


if __name__ == "__main__":
    main()
