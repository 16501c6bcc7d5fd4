"""The demo's work: ordinary runs on one request, one per method, and a comparison of them."""

import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from srmu.config.presets import PRESETS, PUBLISHED
from srmu.config.settings import make_config
from srmu.demo.model import demo_model
from srmu.demo.questions import NUM_CHOICES
from srmu.demo.requests import REQUESTS, Request
from srmu.errors import InputError, nearest_hint
from srmu.export.replacing import is_run
from srmu.inputs.overlap import overlap
from srmu.inputs.questions import question_line
from srmu.job.ask import ask
from srmu.job.evaluate import evaluate
from srmu.job.unlearn import unlearn
from srmu.results.compare import Comparison, compare_runs
from srmu.results.compare_formats import ComparisonRecord, to_json
from srmu.results.records import Answer
from srmu.results.schema import load
from srmu.runtime.devices import choose_device
from srmu.runtime.files import write_atomic
from srmu.runtime.memory import reset_peak_memory
from srmu.runtime.progress import Reporter
from srmu.surgery.checkpoint import open_checkpoint, resolve_model

# The published methods, with what their sources leave open as in `--preset paper`.
_PUBLISHED = {**PUBLISHED, "retain_weight": PRESETS["paper"]["retain_weight"]}
# Name on the command line -> settings over the defaults. The default itself is always the last run.
METHODS: dict[str, Mapping[str, object]] = {
    "rmu": {"method": "rmu", **_PUBLISHED},
    "adaptive-rmu": {"method": "adaptive-rmu", **_PUBLISHED},
    "paper": {"preset": "paper"},
    "robust": {"preset": "robust"},
    "default": {},
}
GROUPS = ("forget", "entangled", "neighbours", "other")
COMPARISON_FILE, PLOT_FILE = "comparison.json", "plot.png"
TEXT_FILES = (
    "forget.jsonl", "entangled.jsonl", "ordinary.jsonl", "text.jsonl",
    *(f"questions-{group}.jsonl" for group in GROUPS),
)  # fmt: skip
NUM_ANSWERS = 3


@dataclass(frozen=True)
class GroupAnswer:
    """A prompt of a group of questions, answered by base and result."""

    group: str
    answer: Answer


@dataclass(frozen=True)
class DemoResult:
    """What a demo found.

    Attributes:
        comparison: Of its runs, as `srmu compare` makes it; the default is the last.
        answers: Of the base and of the default's result; shown, never stored.
    """

    comparison: Comparison
    answers: tuple[GroupAnswer, ...]


def run_demo(
    request_name: str,
    *,
    methods: Sequence[str],
    model: str | None,
    out: Path,
    seed: int,
    device: str,
    reporter: Reporter,
) -> DemoResult:
    """An ordinary run per method, measured with `srmu evaluate` on ordinary texts, and a comparison of them.

    Args:
        request_name: Key of `REQUESTS`.
        methods: Keys of `METHODS`, in order; `default` is put last, and added if it is missing.
        model: Another checkpoint than the demo's own.
        out: Directory for runs, plot and comparison; what an earlier demo left there is replaced.
        seed: Of every run.
        device: As in the config.
        reporter: Hears of progress.

    Raises:
        InputError: For an unknown request or method, or a directory that holds something else.
    """
    _check_names(request_name, methods)
    _clear(out, model)
    request = REQUESTS[request_name]()
    # Opened here, so that nothing is written for a model that is none.
    path = open_checkpoint(resolve_model(model, None)).path if model else demo_model(reporter)
    _note_request(request, reporter)
    texts = _write_texts(request, out / "texts")
    runs = []
    for name in [*(name for name in methods if name != "default"), "default"]:
        config = make_config(
            {
                **METHODS[name],
                "model": str(path),
                "device": device,
                "forget": [texts["forget"]],
                "retain": [texts["entangled"], texts["ordinary"]],
                "questions": {name: str(out / "texts" / f"questions-{name}.jsonl") for name in GROUPS},
                "seed": seed,
                "eval_fraction": 0.0,
                "out": str(out / name),
            }
        )
        reporter.note(f"{name}: {config.target.method}")
        reset_peak_memory(choose_device(device))
        runs.append(unlearn(config, reporter=reporter).run_dir)
        evaluate(str(runs[-1]), texts={"text": texts["text"]}, device=device, reporter=reporter)
    comparison = dataclasses.replace(
        compare_runs(runs), title=f"Request {request.name!r}: four-choice accuracy, chance {1 / NUM_CHOICES:.2f}"
    )
    write_atomic(out / COMPARISON_FILE, to_json(comparison).encode())
    prompts = _prompts(request)
    answers = ask(str(runs[-1]), [prompt for _, prompt in prompts], max_new_tokens=12, device=device, reporter=reporter)
    pairs = zip(prompts, answers, strict=True)
    return DemoResult(comparison, tuple(GroupAnswer(group, answer) for (group, _), answer in pairs))


def _note_request(request: Request, reporter: Reporter) -> None:
    shared = overlap(request.forget, request.retain)
    reporter.note(
        f"Request {request.name!r} ({request.kind}): {len(request.forget)} texts to forget, "
        f"{len(request.retain)} to retain; "
        f"overlap of their words {100 * shared.jaccard:.0f} % (Jaccard), "
        f"{100 * shared.containment:.0f} % of the forget side's words occur on the retain side too."
    )


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
    for file in (*(out / "texts" / name for name in TEXT_FILES), out / COMPARISON_FILE, out / PLOT_FILE):
        file.unlink(missing_ok=True)


def _is_demo(out: Path) -> bool:
    """Whether a demo wrote its comparison here, or was stopped before it had any."""
    file = out / COMPARISON_FILE
    if not file.is_file():
        texts = out / "texts"
        return texts.is_dir() and {path.name for path in texts.iterdir()} <= set(TEXT_FILES)
    try:
        load(ComparisonRecord, file)
    except InputError:
        return False
    return True


def _write_texts(request: Request, folder: Path) -> dict[str, str]:
    """The request's texts as files, so that anyone can look at them and use them in a run of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    sides = {
        "forget": request.forget,
        "entangled": request.retain_entangled,
        "ordinary": request.retain_ordinary,
        "text": request.text,
    }
    for name, texts in sides.items():
        write_atomic(folder / f"{name}.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in texts).encode())
    for name, questions in request.questions.items():
        write_atomic(folder / f"questions-{name}.jsonl", "".join(map(question_line, questions)).encode())
    return {name: str(folder / f"{name}.jsonl") for name in sides}


def _prompts(request: Request) -> list[tuple[str, str]]:
    """A few questions to answer in words: three to forget, one of each kept group."""
    forget = [("forget", question.prompt) for question in request.questions["forget"]]
    step = max(1, len(forget) // NUM_ANSWERS)
    kept = [(name, request.questions[name][0].prompt) for name in GROUPS[1:]]
    return forget[::step][:NUM_ANSWERS] + kept
