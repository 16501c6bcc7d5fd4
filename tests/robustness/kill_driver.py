"""Kill runs at random moments and resume them; started as `python kill_driver.py CHECKPOINT FOLDER MOMENTS SEED`.

Every run is a child that this process forks, so that torch is loaded once; what happened goes to `told.json`. This
process must compute nothing itself: threads do not survive a fork.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srmu.cli.app import main as srmu
from srmu.job import unlearn  # noqa: F401, what all children need is loaded once

SETTINGS = {
    "layer": 3, "steps": 30, "save_every": 1, "learning_rate": 2e-2, "retain_weight": 0.5, "steering_coefficient": 1.0,
    "forget_batch_size": 4, "retain_batch_size": 4, "num_self_written": 12, "max_length": 32, "map_scope": "running",
}  # fmt: skip


def command(checkpoint: Path, folder: Path, out: Path) -> list[str]:
    """The arguments of the run, with every kind of work in it."""
    texts = folder / "texts"
    flags = [part for name, value in SETTINGS.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return [
        "unlearn", str(checkpoint), "--forget", str(texts / "forget.txt"), "--retain", str(texts / "retain.jsonl"),
        "--retain", "self", "--questions", f"forget={texts / 'questions.jsonl'}", *flags, "--out", str(out),
    ]  # fmt: skip


def start(arguments: Sequence[str], cache: Path, log: Path) -> int:
    """Fork a child that runs one command with its output in a file; its process id."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.environ["SRMU_CACHE"] = str(cache)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        code = srmu(arguments)
    finally:
        os._exit(code)


def finish(arguments: Sequence[str], cache: Path, log: Path) -> int:
    """Run one command to its end; its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(start(arguments, cache, log), 0)[1])


def wait_for(file: Path) -> float:
    """Wait until a file is there; the seconds that it took."""
    started = time.perf_counter()
    while not file.exists():
        time.sleep(0.001)
    return time.perf_counter() - started


def start_and_kill(arguments: Sequence[str], cache: Path, log: Path, file: Path | None, seconds: float) -> bool:
    """Start a command and kill it so many seconds later, or after a file appeared; whether it was still running."""
    child = start(arguments, cache, log)
    if file is not None:
        wait_for(file)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def kill_and_resume(checkpoint: Path, folder: Path, number: int, moment: float, *, trains: bool) -> dict[str, Any]:
    """One run killed so many seconds after its start, or after its training began, and what becomes of it."""
    out, cache, log = folder / f"run{number}", folder / f"cache{number}", folder / f"log{number}.txt"
    arguments = command(checkpoint, folder, out)
    while True:
        killed = start_and_kill(arguments, cache, log, out / "config.json" if trains else None, moment)
        # Over already, the machine having become faster or the moment being one of the last: a run killed in its
        # training must have something to go on with.
        over = trains and (out / "manifest.json").exists()
        if killed and not over:
            break
        shutil.rmtree(out)
        moment *= 0.8
    left = sorted(str(path.relative_to(out)) for path in out.rglob("*")) if out.exists() else None
    models = [str(path.parent) for path in folder.glob(f"run{number}/*/config.json")]
    told = {"seconds": moment, "left": left, "models": models}
    for model in models:
        (folder / f"seen{number}").mkdir(exist_ok=True)
        os.link(Path(model) / "model.safetensors", folder / f"seen{number}" / (Path(model).name + ".safetensors"))
    if left and "manifest.json" in left:
        return told | {"how": "finished", "code": finish(["verify", str(out)], cache, log)}
    if left and "config.json" in left:
        return told | {"how": "resumed", "code": finish(["unlearn", "--resume", str(out)], cache, log)}
    return told | {"how": "started again", "code": finish(arguments, cache, log)}


def main(checkpoint: Path, folder: Path, moments: int, seed: int) -> None:
    """The undisturbed run, then the killed ones: by turns from the start, and from when the run directory is opened."""
    # The first run also warms the disk cache; the second gives the durations.
    for name in ("warm", "whole"):
        started = time.perf_counter()
        child = start(command(checkpoint, folder, folder / name), folder / f"cache-{name}", folder / f"{name}.txt")
        opened = wait_for(folder / name / "config.json")
        assert os.waitpid(child, 0)[1] == 0, (folder / f"{name}.txt").read_text()
        duration = time.perf_counter() - started
    source = random.Random(seed)
    told = []
    for number in range(moments):
        trains = number % 2 == 1
        share = (number + source.random()) / moments
        moment = share * (duration - opened if trains else duration)
        told.append(kill_and_resume(checkpoint, folder, number, moment, trains=trains))
    (folder / "told.json").write_text(json.dumps({"duration": duration, "opened": opened, "runs": told}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
