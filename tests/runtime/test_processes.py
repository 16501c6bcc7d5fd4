"""Two processes on CPUs (gloo) give what one gives with the same rows a step, and end together."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from main_job import FORGET, RETAIN, files_with, flags, read_metrics, write_texts
from rank_worker import CASES, SHARDED, command_lines, run_case
from srmu.cli.app import main
from srmu.errors import InputError
from srmu.runtime import processes as distributed
from srmu.runtime.devices import choose_device

TESTS = Path(__file__).parents[1]

LAUNCHED = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
"""What a launcher sets."""


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def environment(**changes: str) -> dict[str, str]:
    paths = os.pathsep.join(str(path) for path in (TESTS.parent / "src", TESTS))
    return {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **changes}


@pytest.fixture(scope="session")
def llama(saved_family: Callable[..., Path]) -> Path:
    return saved_family("llama")


@pytest.fixture(scope="session")
def ranks(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """What two processes wrote: the folder, and what each told. Started once, since each loads torch first."""
    folder = tmp_path_factory.mktemp("ranks")
    pairs = [{"prompt": text.rsplit(" ", 2)[0], "answer": text.rsplit(" ", 2)[1]} for text in FORGET[:5]]
    texts = write_texts(folder / "texts")
    (texts / "completions.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    shared = environment(
        WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=free_port(), SRMU_CACHE=str(folder / "cache")
    )
    workers = [
        subprocess.Popen(
            [sys.executable, str(TESTS / "rank_worker.py"), str(llama), str(folder)],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    errors = [worker.communicate(timeout=240)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], errors
    return folder, [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_take_the_steps_of_one(name: str, llama: Path, ranks: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, told = ranks
    records, masters = run_case(llama, name)
    tolerance = 1e-4 if name == "float32" else 1e-10
    for found, expected in zip(told[0]["runs"][name], records, strict=True):
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance)
    split = load_file(folder / f"{name}.0.safetensors")
    assert split.keys() == masters.keys()
    for key, master in masters.items():
        assert (split[key] - master).abs().max() < tolerance


@pytest.mark.parametrize("name", SHARDED)
def test_layers_divided_over_processes_give_what_whole_ones_give(
    name: str, llama: Path, ranks: tuple[Path, list[dict[str, Any]]]
) -> None:
    folder, told = ranks
    records, masters = run_case(llama, name)
    tolerance = 1e-4 if name == "float32" else 1e-10
    for found, expected in zip(told[0]["sharded"][name], records, strict=True):
        assert found == pytest.approx(expected, rel=tolerance, abs=tolerance)
    parts = [load_file(folder / f"sharded-{name}.{rank}.safetensors") for rank in range(2)]
    assert parts[0].keys() == masters.keys()
    for key, master in masters.items():
        assert torch.equal(parts[0][key], parts[1][key])
        assert (parts[0][key] - master).abs().max() < tolerance
    assert told[0]["moved"] == told[1]["moved"] > 0


@pytest.mark.parametrize("name", CASES)
def test_all_ranks_hold_the_same_bits(name: str, ranks: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, told = ranks
    assert told[0]["runs"][name] == told[1]["runs"][name]
    assert (folder / f"{name}.0.safetensors").read_bytes() == (folder / f"{name}.1.safetensors").read_bytes()


def test_a_loss_that_is_not_finite_stops_all_ranks_at_the_same_step(ranks: tuple[Path, list[dict[str, Any]]]) -> None:
    told = ranks[1]
    assert "became nan" in told[0]["failing"]
    assert "at step 2;" in told[0]["failing"]
    assert told[1]["failing"] == told[0]["failing"]


def test_an_error_of_one_rank_ends_all_with_its_words(ranks: tuple[Path, list[dict[str, Any]]]) -> None:
    first, second = (told["errors"] for told in ranks[1])
    assert first[0] == second[0] == ["InputError", "it was wrong."]
    assert first[1] == second[1] == ["RunError", "it was wrong."]
    assert first[2] == ["RunError", "Process 1 stopped with KeyError: 'it was wrong.'"]
    assert second[2][0] == "KeyError"
    assert first[3] == second[3] == []


def test_ranks_share_items_and_words(ranks: tuple[Path, list[dict[str, Any]]]) -> None:
    first, second = ranks[1]
    assert (first["share"], second["share"]) == ([0, 2, 4], [1, 3])
    for told in (first, second):
        assert told["gathered"] == [{"rank": 0, "text": ""}, {"rank": 1, "text": "ä"}]
        assert told["largest"] == 0
        assert told["from_main"] == "main"


def test_without_a_launcher_there_is_one_rank_and_torch_is_not_loaded() -> None:
    code = (
        "import sys; from srmu.runtime import processes as d; d.connect(cpu=True); assert d.main_process(); x = [1];"
        "assert d.sum_over_ranks(x) is x and d.from_main(x) is x and d.gather(3) == [3] and d.largest(2) == 2;"
        "assert d.share(x) == x; sys.exit('torch' in sys.modules)"
    )
    plain = {key: value for key, value in environment().items() if key not in ("WORLD_SIZE", "RANK")}
    subprocess.run([sys.executable, "-c", code], env=plain, check=True, timeout=120)
    with pytest.raises(KeyError), distributed.together():
        raise KeyError


def test_other_commands_refuse_to_be_launched_as_several(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    assert main(["verify", "runs/x"]) == 2
    assert "srmu verify was launched as 2 processes" in capsys.readouterr().err
    monkeypatch.setattr("srmu.cli.app.SECONDS_TO_SPEAK", 0.0)
    monkeypatch.setenv("RANK", "1")
    assert main(["verify", "runs/x"]) == 2
    assert capsys.readouterr().err == ""


def test_each_rank_computes_on_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr("torch.accelerator.device_count", lambda: 2)
    assert choose_device("cpu").type == "cpu"
    # The meta device stands for an accelerator: any machine has it.
    assert choose_device("meta").index == 1
    with pytest.raises(InputError, match="names one device, and 2 processes"):
        choose_device("meta:0")
    monkeypatch.setattr("torch.accelerator.device_count", lambda: 1)
    with pytest.raises(InputError, match="More processes were launched"):
        choose_device("meta")


LAUNCH = (
    "--multi_gpu",
    "--num_processes",
    "2",
    "--num_machines",
    "1",
    "--mixed_precision",
    "no",
    "--dynamo_backend",
    "no",
)


def launch(arguments: Sequence[str], cache: Path, **options: Any) -> subprocess.Popen[str]:
    """`accelerate launch -m srmu ...` with two processes."""
    command = [sys.executable, "-m", "accelerate.commands.launch", *LAUNCH, "--main_process_port", free_port()]
    return subprocess.Popen(
        [*command, "-m", "srmu", *arguments], env=environment(SRMU_CACHE=str(cache), COLUMNS="200"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


@pytest.mark.slow
def test_a_launched_run_is_written_once_and_verifies(llama: Path, tmp_path: Path) -> None:
    texts = write_texts(tmp_path / "texts")
    arguments = [
        "unlearn", str(llama), "--forget", str(texts / "forget.txt"), "--retain", str(texts / "retain.jsonl"),
        "--retain", "self", "--questions", f"forget={texts / 'questions.jsonl'}", "--json", "--out",
    ]  # fmt: skip
    settings = flags(steps=4, forget_batch_size=3, retain_batch_size=3)
    process = launch([*arguments, str(tmp_path / "two"), *settings], tmp_path / "cache")
    output, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    results = json.loads(output)  # one process printed, once
    assert results["texts"]["forget"]["moved"] > 0
    assert main(["verify", str(tmp_path / "two")]) == 0
    manifest = json.loads((tmp_path / "two" / "manifest.json").read_text())
    assert manifest["environment"]["processes"] == 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SRMU_CACHE", str(tmp_path / "cache"))
        assert main([*arguments, str(tmp_path / "one"), *settings]) == 0
    for one, two in zip(read_metrics(tmp_path / "one"), read_metrics(tmp_path / "two"), strict=True):
        assert one.pop("topic") == two.pop("topic")
        assert two == pytest.approx(one, rel=1e-3, abs=1e-5)


def command_of_ranks(name: str, told: Sequence[dict[str, Any]]) -> tuple[list[int], str, str]:
    """Exit codes of a command, and what the first rank printed; the others must print nothing."""
    found = [entry["commands"][name] for entry in told]
    assert [entry["output"] + entry["errors"] for entry in found[1:]] == [""]
    return [entry["code"] for entry in found], found[0]["output"], found[0]["errors"]


@pytest.mark.parametrize("name", ["evaluate", "benchmark"])
def test_a_measurement_by_two_processes_gives_the_numbers_of_one(
    name: str, llama: Path, ranks: tuple[Path, list[dict[str, Any]]], tmp_path: Path, capsys: Any
) -> None:
    folder, told = ranks
    codes, output, errors = command_of_ranks(name, told)
    assert codes == [0, 0], errors
    capsys.readouterr()
    assert main(command_lines(llama, folder / "texts", tmp_path)[name]) == 0
    # The same batches on either side: the same bits.
    assert json.loads(output) == json.loads(capsys.readouterr().out)


def test_a_run_with_divided_layers_verifies_and_is_that_of_one_process(
    llama: Path, ranks: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    folder, told = ranks
    codes, output, errors = command_of_ranks("divided", told)
    assert codes == [0, 0], errors
    assert main(["verify", str(folder / "divided")]) == 0
    assert main(command_lines(llama, folder / "texts", tmp_path)["divided"]) == 0
    for one, two in zip(read_metrics(tmp_path / "divided"), read_metrics(folder / "divided"), strict=True):
        assert one.pop("topic") == two.pop("topic")
        assert two == pytest.approx(one, rel=1e-3, abs=1e-5)
    moved = json.loads((tmp_path / "divided" / "results.json").read_text())["texts"]["forget"]["moved"]
    assert json.loads(output)["texts"]["forget"]["moved"] == pytest.approx(moved, rel=1e-3)


def test_bad_input_is_said_by_one_of_two_processes(ranks: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, told = ranks
    codes, _, errors = command_of_ranks("missing", told)
    assert codes == [2, 2]
    assert errors.count("'missing.txt'") == 1
    assert not (folder / "missing").exists()


def test_one_process_has_nobody_to_divide_layers_with(llama: Path, tmp_path: Path, capsys: Any) -> None:
    assert main(["unlearn", str(llama), "--forget", "a.txt", "--shard", "--out", str(tmp_path / "run")]) == 2
    assert "there is one" in capsys.readouterr().err


@pytest.mark.slow  # what it adds to the test above is the launcher's own work: that it ends all, and soon
def test_bad_input_ends_a_launched_run_with_one_sentence(llama: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    process = launch(["unlearn", str(llama), "--forget", "missing.txt", "--out", str(tmp_path / "run")], tmp_path)
    errors = process.communicate(timeout=240)[1]
    assert process.returncode != 0
    assert errors.count("'missing.txt'") == 1
    assert time.monotonic() - started < 200
    assert not (tmp_path / "run").exists()


def wait_for_metrics(process: subprocess.Popen[str], run: Path) -> None:
    limit = time.monotonic() + 200
    while not (run / "metrics.jsonl").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_two_ranks_that_are_told_to_end_save_one_state_at_the_same_step(llama: Path, tmp_path: Path) -> None:
    texts, run = write_texts(tmp_path / "texts"), tmp_path / "run"
    arguments = ["unlearn", str(llama), "--forget", str(texts / "forget.txt"), "--retain", str(texts / "retain.jsonl")]
    process = launch([*arguments, *flags(steps=3000, learning_rate=1e-6), "--no-eval", "--out", str(run)], tmp_path)
    wait_for_metrics(process, run)
    process.send_signal(signal.SIGTERM)
    errors = process.communicate(timeout=120)[1]
    assert errors.count(f"--resume {run}") == 1
    done = int(load_file(run / "state.safetensors")["next_step"])
    assert 0 < done < 3000
    assert [record["step"] for record in read_metrics(run)] == list(range(1, done + 1))
    assert files_with(run, [*FORGET, *RETAIN]) == []
