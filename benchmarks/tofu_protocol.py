"""The TOFU protocol: methods on the arena's model, by TOFU's own numbers and beside the model retrained without.

    python benchmarks/tofu_protocol.py --data tofu                  # everything; resumable
    python benchmarks/tofu_protocol.py --data tofu --phase tune --methods rmu 'srmu ratio'
    python benchmarks/tofu_protocol.py --data tofu --phase report --methods default --seeds 0
    python benchmarks/tofu_protocol.py --data tofu --table          # only the rows of the cells there are

Settings are drawn in as many trials for each method, the first with the method's own defaults, and judged with the
roles of `tofu_roles.py` exchanged (`tofu_rows.py: best_trial`). Each run is a line of `cells.jsonl`; what is there is
not computed again.
"""

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import harmonic_mean
from typing import Any

import numpy as np
import optuna
import torch
import transformers
from cells import read_cells
from protocol import KEYS, METHODS, WHOLE
from protocol_whole import whole_trained
from tofu_arena import QUESTIONS_AN_AUTHOR, answer_loss
from tofu_roles import ROLES, is_told, models, questions, texts
from tofu_rows import best_trial, make_rows

from srmu.config.settings import make_config
from srmu.demo.model import demo_model
from srmu.errors import RunError
from srmu.evaluation.benchmarks import tofu_metrics as metrics
from srmu.evaluation.benchmarks.tofu import score_losses
from srmu.evaluation.benchmarks.tofu_data import SET_NAMES, TofuData
from srmu.evaluation.benchmarks.tofu_losses import answer_losses
from srmu.evaluation.benchmarks.tofu_prompt import TofuPrompt, encode_answer, prompt_text
from srmu.evaluation.completions import complete
from srmu.evaluation.loading import load_causal_lm, load_tokenizer
from srmu.evaluation.prefix_trees import Pair
from srmu.job.plan import make_plan
from srmu.job.prepare import prepare_rows
from srmu.job.tuning.bench import TrialBench
from srmu.job.tuning.outcome import Validation
from srmu.job.tuning.space import search_space, suggest, to_settings
from srmu.runtime.precision import mixed_precision
from srmu.runtime.progress import Reporter

RESULTS = Path(__file__).parent / "results"
OURS: dict[str, dict[str, Any]] = {
    "default": {},
    "scaled back": {"change_scale": 0.85},
    "erase": {"preset": "erase"},
    "counterfactual": {"preset": "counterfactual"},
    "repair": {"preset": "repair"},
    "repair, no overshoot": {"preset": "repair", "overshoot": 0.0},
    "repair, overshoot 0.2": {"preset": "repair", "overshoot": 0.2},
    "robust": {"preset": "robust"},
}
TUNED = ("rmu", "adaptive-rmu", "srmu ratio", "srmu difference", "srmu product", "gradient-difference", "npo")
REFERENCES = ("gold", "full")
"""The model retrained without, with which all others are compared, and the one to unlearn; measured as results are."""
EVERY = {"tune": (2, 8), "report": (1, 4)}
"""Of what is forgotten, and of what stays, every so many questions are asked."""
RELEARN_EVERY = 4
"""Every so many of the answers are looked at before and after an attack."""
MOST_NEW_TOKENS = 100
RELEARN_STEPS, RELEARN_ROWS, RELEARN_RATE = 30, 8, 2e-5
WHOLE_RATE, WHOLE_STEPS = 1e-4, 30
"""A step of the whole model takes seven seconds on one core."""


class Arena:
    """One role of the arena: its models, loaded once, its texts and its questions.

    Args:
        folder: Of TOFU's JSONL files.
        role: `tune` or `report`.
    """

    def __init__(self, folder: Path, role: str):
        self.folder, self.role = folder, ROLES[role]
        self.base, self.gold = models(demo_model(Reporter()), folder, self.role, Reporter())
        self.tokenizer = load_tokenizer(self.base)
        self.data: TofuData = questions(folder, self.role, *EVERY[role])
        self._model: Any = None

    def bench(self, settings: dict[str, Any]) -> TrialBench:
        """Rows and layers for these settings, around the one whole model."""
        with self._sources() as given:
            plan = make_plan(make_config({"model": str(self.base), **given, "eval_fraction": 0.0, **settings}))
            prepared = prepare_rows(plan, Reporter())
        bench = TrialBench(plan, prepared.topics, Validation({}, {}, {}))
        if self._model is None:
            self._model = bench.model
        bench.model = self._model
        return bench

    def measure(self, model: Any, *, write: bool) -> dict[str, Any]:
        """TOFU's numbers of a model; with ROUGE of retained answers alone, where answers are written.

        Utility is the harmonic mean of what is there, six numbers or seven: so small a model, the gold standard too,
        writes none of the answers about real authors, and one zero among TOFU's nine numbers makes utility zero.
        """
        prompt = TofuPrompt()
        losses = score_losses(model, self.tokenizer, self.data, prompt=prompt, reporter=Reporter())
        sets = {}
        for name in SET_NAMES:
            answer, right, wrong = losses[name][:, 0], losses[name][:, 1], losses[name][:, 2:]
            chosen = name in ("real_authors", "world_facts")
            ratios = metrics.truth_ratio(right, wrong)
            of_set = metrics.truth_ratio_of_forgotten if name == "forget" else metrics.truth_ratio_of_known
            probabilities = metrics.choice_probability(answer, wrong) if chosen else metrics.probability(answer)
            sets[name] = {"probability": float(probabilities.mean()), "truth_ratio": of_set(ratios)}
            if write and name == "retain":
                asked = self.data.sets[name]
                written = complete(
                    model,
                    self.tokenizer,
                    [prompt_text(self.tokenizer, prompt, entry.question) for entry in asked],
                    max_new_tokens=MOST_NEW_TOKENS,
                )
                sets[name]["rouge_l_recall"] = float(
                    metrics.rouge_l_recall([entry.answer for entry in asked], written).mean()
                )
        told = np.array(is_told(self.folder, self.role, self.data.sets["retain"]))
        retained = metrics.probability(losses["retain"][:, 0])
        kept = [value for name in SET_NAMES if name != "forget" for value in sets[name].values()]
        return {
            "sets": sets,
            "truth_ratios": metrics.truth_ratio(losses["forget"][:, 1], losses["forget"][:, 2:]).round(6).tolist(),
            "utility": harmonic_mean(kept),
            "told": float(retained[told].mean()),
            "untold": float(retained[~told].mean()),
        }

    def relearned(self, model: Any, seed: int) -> dict[str, float]:
        """Probability of the forgotten answers of one half of the authors, before and after the other half is taught.

        All weights are fine-tuned on the answers, with AdamW.
        """
        records = texts(self.folder, self.role)["forget"]
        pairs = [encode_answer(self.tokenizer, TofuPrompt(), r["question"], r["answer"]) for r in records]
        authors = np.random.default_rng(seed).permutation(len(pairs) // QUESTIONS_AN_AUTHOR)
        half = set(authors[: len(authors) // 2].tolist())
        taught = [pair for number, pair in enumerate(pairs) if number // QUESTIONS_AN_AUTHOR in half]
        tested = [pair for number, pair in enumerate(pairs) if number // QUESTIONS_AN_AUTHOR not in half]
        model = copy.deepcopy(model).float()
        before = _mean_probability(model, tested[::RELEARN_EVERY])
        optimizer = torch.optim.AdamW(model.requires_grad_(True).parameters(), lr=RELEARN_RATE, weight_decay=0.0)
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(taught), generator=generator).tolist()
        for step in range(RELEARN_STEPS):
            places = [order[(step * RELEARN_ROWS + row) % len(order)] for row in range(RELEARN_ROWS)]
            with torch.enable_grad():  # results are held without
                with mixed_precision(model.device):
                    loss = answer_loss(model, [taught[place] for place in places])
                loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        return {
            "before": before,
            "after": _mean_probability(model, tested[::RELEARN_EVERY]),
            "taught": _mean_probability(model, taught[::RELEARN_EVERY]),
        }

    @contextmanager
    def _sources(self) -> Iterator[dict[str, list[str]]]:
        """Texts to forget, and those of the authors that are told beside the paragraphs that come with srmu."""
        with tempfile.TemporaryDirectory() as folder:
            for name, records in texts(self.folder, self.role).items():
                lines = [json.dumps({"question": r["question"], "answer": r["answer"]}) + "\n" for r in records]
                (Path(folder) / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
            yield {"forget": [f"{folder}/forget.jsonl"], "retain": [f"{folder}/told.jsonl", "general"]}


def _mean_probability(model: Any, pairs: list[Pair]) -> float:
    return float(metrics.probability(answer_losses(model, pairs)).mean())


def trial_settings(method: str, number: int, arena: Arena) -> dict[str, Any]:
    """What a method's trial tries: the first its own defaults, the others the same draws for all methods."""
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=number)).ask()
    if method in WHOLE:
        if number == 0:
            return {"learning_rate": WHOLE_RATE, "retain_weight": 1.0, "steps": WHOLE_STEPS}
        return {
            "learning_rate": float(f"{trial.suggest_float('learning_rate', 3e-5, 3e-4, log=True):.3g}"),
            "retain_weight": float(f"{trial.suggest_float('retain_weight', 0.1, 30, log=True):.3g}"),
            "steps": WHOLE_STEPS,
        }
    if number == 0:
        return {}
    bench = arena.bench(METHODS[method])
    return to_settings(suggest(trial, search_space(bench.plan, KEYS)), bench.automatic_rate)


@contextmanager
def unlearned(arena: Arena, method: str, settings: dict[str, Any], seed: int) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The model after a method, until the block ends, with its seconds of training and steps."""
    if method in REFERENCES:
        path = arena.base if method == "full" else arena.gold
        yield load_causal_lm(path), {"seconds": 0.0, "steps": 0}
    elif method in WHOLE:
        bench = arena.bench({"seed": seed})
        with whole_trained(bench, method, settings, seed) as seconds:
            yield bench.model, {"seconds": seconds, "steps": settings["steps"]}
    else:
        started = time.perf_counter()
        bench = arena.bench({**OURS.get(method, METHODS.get(method, {})), **settings, "seed": seed})
        trained = bench.train({})
        seconds = time.perf_counter() - started
        with bench.holding(trained.solver.result):
            yield bench.model, {"seconds": seconds, "steps": len(trained.metrics)}


def run(arena: Arena, cell: dict[str, Any], *, write: bool, relearn: bool) -> dict[str, Any]:
    """A cell with what was found; the error instead, where a training diverged."""
    try:
        with unlearned(arena, cell["method"], cell["settings"], cell["seed"]) as (model, how):
            found = arena.measure(model, write=write)
            if relearn:
                found["relearned"] = arena.relearned(model, cell["seed"])
    except RunError as error:
        return {**cell, "error": str(error)}
    return {**cell, **how, "seconds": round(how["seconds"], 1), **found}


def wanted(arguments: argparse.Namespace, file: Path, arena: Arena) -> Iterator[dict[str, Any]]:
    """The cells of a phase, one after the other; those of the report have the best settings there are."""
    if arguments.phase == "tune":
        yield from (_cell("tune", name, 0, {}) for name in REFERENCES)
        for number in range(arguments.trials):
            for method in arguments.methods:
                if method in TUNED:
                    yield _cell("tune", method, 0, trial_settings(method, number, arena), trial=number)
        return
    trials = [cell for cell in read_cells(file) if cell["phase"] == "tune"]
    for seed in arguments.seeds:
        for method in (*REFERENCES, *arguments.methods):
            best = best_trial(trials, method) if method in TUNED else None
            if method in TUNED and best is None:
                print(f"{method}: no trial is there, left out", flush=True)
                continue
            # The references once for each seed, too: the attack on them has it.
            yield _cell("report", method, seed, best["settings"] if best else {})


def _cell(phase: str, method: str, seed: int, settings: dict[str, Any], trial: int | None = None) -> dict[str, Any]:
    return {"phase": phase, "method": method, "seed": seed, "trial": trial, "settings": settings}


def _key(cell: dict[str, Any]) -> tuple[Any, ...]:
    return cell["phase"], cell["method"], cell["seed"], cell["trial"]


def line(cell: dict[str, Any]) -> str:
    """A cell in one line."""
    where = ", ".join(str(part) for part in _key(cell) if part is not None)
    if "error" in cell:
        return f"{where}: {cell['error']}"
    sets = cell["sets"]
    parts = [
        f"forget {sets['forget']['probability']:.3f}", f"told {cell['told']:.3f}", f"untold {cell['untold']:.3f}",
        f"utility {cell['utility']:.3f}", f"log10 forget quality {cell['log10_forget_quality']:.1f}",
        f"{cell['seconds']:.0f} s",
    ]  # fmt: skip
    if attacked := cell.get("relearned"):
        parts.append(f"relearned {attacked['before']:.3f} > {attacked['after']:.3f}")
    return f"{where}: {'; '.join(parts)}"


def main() -> None:
    """Run what is missing, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of TOFU's JSONL files")
    parser.add_argument("--out", type=Path, default=RESULTS / "tofu")
    parser.add_argument("--phase", choices=("tune", "report"), help="else both")
    parser.add_argument("--methods", nargs="+", choices=[*OURS, *TUNED], default=[*OURS, *TUNED])
    parser.add_argument("--trials", type=int, default=3, help="of each method")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--table", action="store_true", help="only the rows of the cells in --out")
    parser.add_argument("--publish", action="store_true", help="write benchmarks/results/tofu.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    transformers.utils.logging.disable_progress_bar()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "cells.jsonl"
    for phase in () if arguments.table else (arguments.phase,) if arguments.phase else ("tune", "report"):
        arguments.phase = phase
        arena = Arena(arguments.data, phase)
        for cell in wanted(arguments, file, arena):
            cells = {_key(known): known for known in read_cells(file)}
            if _key(cell) in cells:
                continue
            found = run(arena, cell, write=phase == "report", relearn=phase == "report")
            # The gold standard comes before all methods; its truth ratios are the same for every seed.
            golds = [found] if cell["method"] == "gold" else cells.values()
            gold = next((one for one in golds if (one["phase"], one["method"]) == (phase, "gold")), None)
            if gold is not None and "error" not in found:
                test = metrics.forget_quality(np.array(found["truth_ratios"]), np.array(gold["truth_ratios"]))
                found |= {"log10_forget_quality": test.log10_p_value, "distance": test.statistic}
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(found, ensure_ascii=False) + "\n")
            print(line(found), flush=True)
    rows = make_rows(read_cells(file), trials=arguments.trials)
    for row in rows:
        print(json.dumps(row))
    if arguments.publish:
        (RESULTS / "tofu.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
