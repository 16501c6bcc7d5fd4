"""The demo's work: ask the base, make it forget with each method, ask the results, keep the numbers."""

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srmu.config.presets import PRESETS, PUBLISHED
from srmu.config.settings import make_config
from srmu.demo.model import demo_model
from srmu.demo.questions import NUM_CHOICES
from srmu.demo.requests import REQUESTS, Request
from srmu.errors import InputError, nearest_hint
from srmu.evaluation.completions import complete
from srmu.evaluation.loading import load_tokenizer
from srmu.evaluation.measure import Measurement, compare, measure
from srmu.evaluation.model_pair import load_for_measuring
from srmu.evaluation.questions import Question
from srmu.export.replacing import is_run
from srmu.inputs.corpora import corpus_from_strings
from srmu.inputs.overlap import overlap
from srmu.inputs.rows import tokenize_rows
from srmu.job.unlearn import unlearn
from srmu.results.manifest_file import RESULTS_FILE
from srmu.runtime.devices import choose_device
from srmu.runtime.files import write_atomic, write_json_atomic
from srmu.runtime.memory import peak_memory_mb, reset_peak_memory
from srmu.runtime.progress import Reporter

# The published methods, with what their sources leave open as in `--preset paper`.
_PUBLISHED = {**PUBLISHED, "retain_weight": PRESETS["paper"]["retain_weight"]}
# Name on the command line -> settings over the defaults. The default itself is always the last run.
METHODS: dict[str, dict[str, Any]] = {
    "rmu": {"method": "rmu", **_PUBLISHED},
    "adaptive-rmu": {"method": "adaptive-rmu", **_PUBLISHED},
    "paper": {"preset": "paper"},
    "robust": {"preset": "robust"},
    "default": {},
}
GROUPS = ("forget", "entangled", "neighbours", "other")
PLOT_FILE = "plot.png"
TEXT_FILES = ("forget.jsonl", "entangled.jsonl", "ordinary.jsonl", *(f"questions-{group}.jsonl" for group in GROUPS))
NUM_ANSWERS = 3


def run_demo(
    request_name: str,
    *,
    methods: Sequence[str],
    model: str | None,
    out: Path,
    seed: int,
    device: str,
    reporter: Reporter,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run the demo.

    Args:
        request_name: Key of `REQUESTS`.
        methods: Keys of `METHODS`, in order; `default` is put last, and added if it is missing.
        model: Another checkpoint than the demo's own.
        out: Directory for runs, plot and results; what an earlier demo left there is replaced.
        seed: Of every run.
        device: As in the config.
        reporter: Hears of progress.

    Returns:
        Content of `results.json`; and prompts with the answers of the base and of each run, which are only shown.

    Raises:
        InputError: For an unknown request or method, or a directory that holds something else.
    """
    _check_names(request_name, methods)
    _clear(out, model)
    request = REQUESTS[request_name]()
    path = Path(model) if model else demo_model(reporter)
    where = choose_device(device)
    tokenizer = load_tokenizer(path)
    shared = overlap(request.forget, request.retain)
    reporter.note(
        f"Request {request.name!r} ({request.kind}): {len(request.forget)} texts to forget, "
        f"{len(request.retain)} to retain; "
        f"overlap of their words {100 * shared.jaccard:.0f} % (Jaccard), "
        f"{100 * shared.containment:.0f} % of the forget side's words stand on the retain side too."
    )
    prompts = _prompts(request)

    questions = {name: request.questions[name] for name in GROUPS}
    ordinary = tokenize_rows(corpus_from_strings(list(request.text), "text"), tokenizer, max_length=512)

    def ask(checkpoint: Path, title: str) -> tuple[Measurement, list[str]]:
        whole = load_for_measuring(checkpoint, device=device, dtype="auto").model
        found = measure(whole, tokenizer, texts={"text": ordinary}, questions=questions, reporter=reporter, title=title)
        return found, complete(whole, tokenizer, [prompt for _, prompt in prompts], max_new_tokens=12)

    reset_peak_memory(where)
    before, base_answers = ask(path, "Asking the base model")
    base = {"name": "base", "method": "none", "layers": [], "seconds": 0.0, "groups": group_numbers(before)}
    base["peak_mb"] = peak_memory_mb(where)["resident"]
    texts = _write_texts(request, out / "texts")
    runs, answers = (
        [],
        [
            {"group": group, "prompt": prompt, "base": answer}
            for (group, prompt), answer in zip(prompts, base_answers, strict=True)
        ],
    )
    for name in [name for name in methods if name != "default"] + ["default"]:
        reset_peak_memory(where)
        config = make_config(
            {
                **METHODS[name],
                "model": str(path),
                "device": device,
                "forget": [texts["forget"]],
                "retain": [texts["entangled"], texts["ordinary"]],
                # Measured here, not by the run; named for what comes after it, such as srmu attack.
                "questions": {name: str(out / "texts" / f"questions-{name}.jsonl") for name in GROUPS},
                "seed": seed,
                "eval": False,
                "eval_fraction": 0.0,
                "out": str(out / name),
            }
        )
        reporter.note(f"{name}: {config.method}")
        result = unlearn(config, reporter=reporter)
        peak = result.manifest["peak_memory_mb"]["resident"]
        after, completions = ask(result.model_dir, f"Asking the result of {name}")
        write_json_atomic(result.run_dir / RESULTS_FILE, compare(before, after))
        seconds = result.manifest["seconds"]
        runs.append(
            {
                "name": name,
                "method": config.method,
                "layers": result.manifest["config"]["trained_layers"],
                "seconds": round(seconds["load"] + seconds["frozen"] + seconds["training"], 2),
                "peak_mb": peak,
                "groups": group_numbers(after),
            }
        )
        for entry, completion in zip(answers, completions, strict=True):
            entry[name] = completion
    results = {
        "request": request.name,
        "kind": request.kind,
        "chance": 1 / NUM_CHOICES,
        "seed": seed,
        "overlap": {"jaccard": shared.jaccard, "containment": shared.containment},
        "base": base,
        "runs": runs,
    }
    write_json_atomic(out / RESULTS_FILE, results)
    return results, answers


def group_numbers(found: Measurement) -> dict[str, dict[str, Any]]:
    """Accuracy of each group of questions, and nats a token of ordinary text."""
    groups: dict[str, dict[str, Any]] = {
        name: {"n": scores.n, "accuracy": scores.accuracy, "stderr": scores.stderr_by_fact, "nll": scores.nll}
        for name, scores in found.questions.items()
    }
    return groups | {name: {"n": scores.num_tokens, "nll": scores.nll} for name, scores in found.texts.items()}


def _check_names(request_name: str, methods: Sequence[str]) -> None:
    asked = [("Request", request_name, list(REQUESTS)), *(("Method", method, list(METHODS)) for method in methods)]
    for what, name, known in asked:
        if name not in known:
            raise InputError(f"{what} {name!r} is unknown.{nearest_hint(name, known)} Known: {', '.join(known)}.")


def _clear(out: Path, model: str | None) -> None:
    """Remove what an earlier demo wrote, and only that; refuse a directory that no demo made."""
    if not out.exists() or not any(out.iterdir()):
        return
    if not _is_demo(out):
        raise InputError(f"Output directory {str(out)!r} holds something other than a demo. Choose another --out.")
    runs = [path for path in (out / name for name in METHODS) if path.is_dir() and is_run(path)]
    if model and any(Path(model).resolve().is_relative_to(run.resolve()) for run in runs):
        raise InputError(f"The model {model!r} is a run of the demo in {str(out)!r}. Choose another --out.")
    for run in runs:
        shutil.rmtree(run.resolve())
    for file in (*(out / "texts" / name for name in TEXT_FILES), out / RESULTS_FILE, out / PLOT_FILE):
        file.unlink(missing_ok=True)


def _is_demo(out: Path) -> bool:
    """Whether a demo wrote its results here, or was stopped before it had any."""
    file = out / RESULTS_FILE
    if not file.is_file():
        texts = out / "texts"
        return texts.is_dir() and {path.name for path in texts.iterdir()} <= set(TEXT_FILES)
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(results, dict) and results.keys() >= {"request", "chance", "overlap", "runs"}


def _write_texts(request: Request, folder: Path) -> dict[str, str]:
    """The request's texts as files, so that anyone can look at them and use them in a run of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    sides = {
        "forget": request.forget,
        "entangled": request.retain_entangled,
        "ordinary": request.retain_ordinary,
    }
    for name, texts in sides.items():
        write_atomic(folder / f"{name}.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in texts).encode())
    for name, questions in request.questions.items():
        lines = [json.dumps(_question_record(question)) + "\n" for question in questions]
        write_atomic(folder / f"questions-{name}.jsonl", "".join(lines).encode())
    return {name: str(folder / f"{name}.jsonl") for name in sides}


def _question_record(question: Question) -> Mapping[str, Any]:
    record = dataclasses.asdict(question)
    return {"question": record.pop("prompt"), **record}


def _prompts(request: Request) -> list[tuple[str, str]]:
    """A few questions to answer in words: three to forget, one of each kept group."""
    forget = [("forget", question.prompt) for question in request.questions["forget"]]
    step = max(1, len(forget) // NUM_ANSWERS)
    kept = [(name, request.questions[name][0].prompt) for name in GROUPS[1:]]
    return forget[::step][:NUM_ANSWERS] + kept
