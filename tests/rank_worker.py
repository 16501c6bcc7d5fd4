"""What each of two processes does for tests/test_distributed.py: solver runs, commands, errors; results to files.

Started as `python rank_worker.py CHECKPOINT FOLDER` with the environment that a launcher sets.
"""

import io
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from families import TAPPED_LAYER, TRAINED_LAYERS
from main_job import flags
from oracle.plain import float64_exact
from srmu.cli.app import main as srmu
from srmu.errors import InputError, RunError
from srmu.runtime import processes as distributed
from srmu.surgery.checkpoint import open_checkpoint
from srmu.surgery.sharding import shard_below
from srmu.surgery.truncate import load_truncated
from tiny_runs import FORGET, finish, make_rows, make_solver, make_specific_topic, make_topic, masters_of

TWO_TOPICS = [make_topic(name="one"), make_topic(make_rows((8, 19, 3), 3), make_rows((7, 16), 4), FORGET, name="two")]
EXCHANGEABLE = [make_specific_topic()]
# Odd numbers of rows; with one row of a side, one of two ranks has none of it.
CASES: dict[str, dict[str, Any]] = {
    "float32": {"dtype": torch.float32, "forget_batch_size": 3, "retain_batch_size": 3},
    "dynamic": {"forget_batch_size": 3, "retain_batch_size": 1},
    "ratio": {"forget_batch_size": 1, "retain_batch_size": 5, "importance_map": "ratio", "statistic": "rms"},
    "running": {
        "forget_batch_size": 3,
        "retain_batch_size": 1,
        "map_scope": "running",
        "topics": TWO_TOPICS,
        "cache_gb": 0.0,
    },
    "corpus": {"forget_batch_size": 1, "retain_batch_size": 2, "map_scope": "corpus", "topics": TWO_TOPICS},
    "erasure": {"forget_batch_size": 3, "retain_batch_size": 1, "method": "erasure", "erased_axes": 2},
    "counterfactual": {
        "forget_batch_size": 3,
        "retain_batch_size": 1,
        "method": "counterfactual",
        "forget_tokens": "specific",
        "topics": EXCHANGEABLE,
        "max_length": 64,
    },
    "counterfactual, not kept": {
        "forget_batch_size": 1,
        "retain_batch_size": 3,
        "method": "counterfactual",
        "forget_tokens": "specific",
        "topics": EXCHANGEABLE,
        "max_length": 64,
        "cache_gb": 0.0,
    },
    "rmu": {"forget_batch_size": 5, "retain_batch_size": 1, "method": "rmu", "coefficient_unit": "absolute"},
    "adaptive-rmu": {"forget_batch_size": 1, "retain_batch_size": 3, "method": "adaptive-rmu"},
}
CASES["repair"] = {
    **CASES["counterfactual, not kept"],
    "trained_layers": (3,),
    "below": {"layers.2.mlp.down_proj.weight": torch.randn(32, 48, generator=torch.Generator().manual_seed(5))},
}
TOFU = Path(__file__).parent / "data" / "tofu"
SHARDED = ("float32", "ratio", "running", "corpus", "counterfactual, not kept", "repair")
RECORDED = (
    "step",
    "forget_loss",
    "retain_loss",
    "loss",
    "gradient_norm",
    "target_norm",
    "forget_tokens",
    "retain_tokens",
)


def run_case(checkpoint: Path, name: str) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """The metrics and the masters of a short run."""
    settings = {"dtype": torch.float64, "steps": 5, **CASES[name]}
    with float64_exact() if settings["dtype"] == torch.float64 else nullcontext():
        solver = make_solver(checkpoint, settings.pop("topics", None), **settings)
        records = [{key: record[key] for key in RECORDED} for record in finish(solver)]
        return records, masters_of(solver)


def run_sharded(checkpoint: Path, name: str) -> tuple[list[dict[str, Any]], dict[str, Tensor], float]:
    """A short run with the layers below the trained ones divided over ranks; and how far other rows moved."""
    settings = {"dtype": torch.float64, "steps": 5, **CASES[name]}
    with float64_exact() if settings["dtype"] == torch.float64 else nullcontext():
        dtype = settings.pop("dtype")
        truncated = load_truncated(
            open_checkpoint(checkpoint), TAPPED_LAYER + 1, dtype=dtype, device=torch.device("cpu")
        )
        shard_below(truncated, min(TRAINED_LAYERS))
        solver = make_solver(checkpoint, settings.pop("topics", None), truncated=truncated, **settings)
        assert solver.replayer.sharded
        records = [{key: record[key] for key in RECORDED} for record in finish(solver)]
        return records, masters_of(solver), solver.moved(make_rows((19, 4, 11), 9))


def failing_run(checkpoint: Path) -> str:
    """A run whose first rank breaks its own weights: all must stop at that step."""
    solver = make_solver(checkpoint, steps=4)
    solver.step()
    if distributed.rank() == 0:
        with torch.no_grad():
            next(iter(solver.masters.values())).fill_(float("nan"))
    try:
        finish(solver)
    except RunError as error:
        return str(error)
    return "no error"


def error_of(failing_rank: int, kind: type[Exception]) -> list[str]:
    """The error that this rank sees when one of them fails."""
    try:
        with distributed.together():
            if distributed.rank() == failing_rank:
                raise kind("it was wrong.")
    except Exception as error:
        return [type(error).__name__, str(error)]
    return []


def command_lines(checkpoint: Path, texts: Path, out: Path) -> dict[str, list[str]]:
    """Commands that several processes share; `texts` holds what `write_texts` writes, and `completions.jsonl`."""
    sources = ["--forget", str(texts / "forget.txt"), "--retain", str(texts / "retain.jsonl")]
    asked = [
        f"asked={texts / 'questions.jsonl'}",
        f"read={texts / 'forget.txt'}",
        f"said={texts / 'completions.jsonl'}",
    ]
    kinds = ("--questions", "--texts", "--completions")
    return {
        "evaluate": [
            "evaluate", str(checkpoint), "--base", str(checkpoint), "--json",
            *(part for pair in zip(kinds, asked, strict=True) for part in pair),
        ],
        "benchmark": [
            "benchmark", "tofu", str(checkpoint), "--data", str(TOFU), "--split", "forget01", "--limit", "3",
            "--max-new-tokens", "4", "--json",
        ],
        "divided": [
            "unlearn", str(checkpoint), *sources, *flags(steps=3, forget_batch_size=3, retain_batch_size=3), "--json",
            "--out", str(out / "divided"),
        ],
        "missing": ["unlearn", str(checkpoint), "--forget", "missing.txt", "--out", str(out / "missing")],
    }  # fmt: skip


def run_command(arguments: Sequence[str]) -> dict[str, Any]:
    """The exit code of a command and what this rank printed."""
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
        code = srmu(arguments)
    return {"code": code, "output": output.getvalue(), "errors": errors.getvalue()}


def main(checkpoint: Path, folder: Path) -> None:
    """Run everything; rank N writes N.json and, for each case, its masters. `folder / "texts"` must be there."""
    distributed.connect(cpu=True)
    rank = distributed.rank()
    told: dict[str, Any] = {
        "share": distributed.share(range(5)),
        "gathered": distributed.gather({"rank": rank, "text": "ä" * rank}),
        "largest": distributed.largest(-rank),
        "from_main": distributed.from_main("main" if rank == 0 else None),
        "errors": [error_of(1, InputError), error_of(0, RunError), error_of(1, KeyError), error_of(2, KeyError)],
        "failing": failing_run(checkpoint),
        "runs": {},
        "sharded": {},
    }
    for name in CASES:
        told["runs"][name], masters = run_case(checkpoint, name)
        save_file(masters, folder / f"{name}.{rank}.safetensors")
    for name in SHARDED:
        told["sharded"][name], masters, told["moved"] = run_sharded(checkpoint, name)
        save_file(masters, folder / f"sharded-{name}.{rank}.safetensors")
    commands = command_lines(checkpoint, folder / "texts", folder)
    commands["divided"].append("--shard")
    told["commands"] = {name: run_command(arguments) for name, arguments in commands.items()}
    (folder / f"{rank}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
