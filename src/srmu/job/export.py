"""The work of `srmu export`: a finished run as a LoRA adapter, measured again, as its delta, as GGUF, or on the hub."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from srmu.errors import InputError
from srmu.evaluation.model_pair import load_for_measuring, resolve_pair
from srmu.evaluation.questions import score_questions
from srmu.export.lora import Decomposition, decompose, write_lora
from srmu.inputs.questions import Question
from srmu.results.manifest import read_manifest
from srmu.results.run_files import DELTA_FILE, MODEL_DIR
from srmu.results.sides import side_of
from srmu.runtime.files import copy_file
from srmu.runtime.progress import Reporter
from srmu.surgery.checkpoint import open_checkpoint

Form = Literal["lora", "delta", "gguf", "hub"]
CONVERTERS = ("convert_hf_to_gguf.py", "convert-hf-to-gguf.py")
"""The script of llama.cpp, by the names it has had."""
FIRST_RANK = 4
FORGET_TOLERANCE, KEPT_TOLERANCE = 0.03, 0.01
"""Accuracy by which an adapter may differ from the full result, on forget questions and on others."""
ERROR_TOLERANCE = 0.05
"""Where there are no questions: share of the change's Frobenius norm that the rank may leave out."""


@dataclass(frozen=True)
class RankScore:
    """One rank that was looked at.

    Attributes:
        rank: Of the factors.
        error: Largest share of a matrix's change, in the Frobenius norm, that it leaves out.
        accuracy: Share of right answers by group of questions; empty where none were asked.
    """

    rank: int
    error: float
    accuracy: dict[str, float]


@dataclass(frozen=True)
class AdapterExport:
    """A LoRA adapter that was written.

    Attributes:
        path: Its directory.
        chosen: Its rank, measured.
        full: The full result, measured in the same way.
        tried: Every rank that was looked at, ascending.
    """

    path: Path
    chosen: RankScore
    full: RankScore
    tried: tuple[RankScore, ...]


def export_adapter(
    run: str | Path,
    out: str | Path,
    *,
    base: str | None = None,
    rank: int | Literal["auto"] = "auto",
    questions: Mapping[str, Sequence[Question]] | None = None,
    device: str = "auto",
    dtype: str = "auto",
    trust_remote_code: bool = False,
    reporter: Reporter | None = None,
) -> AdapterExport:
    """Write the change of a run as a LoRA adapter in PEFT's format.

    Args:
        run: A finished run directory.
        out: Directory to make.
        base: The base, where it is not at its recorded place.
        rank: Of the factors. `auto` = the smallest of 4, 8, 16, ... whose answers to the questions are within 0.03 of
            the full result's on forget questions and within 0.01 on all others; without questions, the smallest that
            leaves out at most a twentieth of the change's norm.
        questions: By group.
        device: As torch names it, or `auto`.
        dtype: `auto` = as stored where the device multiplies that natively, else float32.
        trust_remote_code: Run model code that comes with the checkpoint.
        reporter: Hears of progress.

    Raises:
        InputError: It is no finished run, its change is no change of linear layers, or the rank is out of range.
    """
    reporter = reporter or Reporter()
    manifest = read_manifest(run)
    pair = resolve_pair(str(run), base)
    assert pair.base is not None
    loaded = load_for_measuring(pair.base, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
    changed = [change.name for change in manifest.changed]
    with reporter.task("Decomposing the change") as progress:
        decomposition = _decomposition(pair.base, pair.model, changed, loaded.model)
        progress(1, 1)
    ranks = _ranks(decomposition, rank)
    groups = {name: list(asked) for name, asked in (questions or {}).items()}
    tried: list[RankScore] = []
    with _Swapped(loaded.model, decomposition) as swapped, reporter.task("Measuring the adapter") as progress:

        def measured(at: int) -> RankScore:
            swapped.apply(at)
            accuracy = {
                name: score_questions(loaded.model, loaded.tokenizer, asked).accuracy for name, asked in groups.items()
            }
            return RankScore(at, max(decomposition.left_out(at).values()), accuracy)

        full = measured(decomposition.full_rank)
        progress(1, 1 + len(ranks))
        for number, at in enumerate(ranks, 2):
            tried.append(measured(at) if at < decomposition.full_rank else full)
            progress(number, 1 + len(ranks))
            if rank == "auto" and _is_enough(tried[-1], full):
                break
    chosen = tried[-1]
    write_lora(decomposition, chosen.rank, Path(out), base_name=os.path.expanduser(manifest.base.model))
    return AdapterExport(Path(out), chosen, full, tuple(tried))


def export_delta(run: str | Path, out: str | Path) -> Path:
    """Copy the changed tensors of a run; `srmu apply` rebuilds the checkpoint from them and the base.

    Raises:
        InputError: It is no finished run, or the file exists.
    """
    read_manifest(run)
    target = Path(out)
    if os.path.lexists(target):
        raise InputError(f"Output {str(out)!r} exists. Choose another --out.")
    copy_file(Path(run) / DELTA_FILE, target)
    return target


def export_gguf(run: str | Path, out: str | Path, *, outtype: str = "auto") -> Path:
    """Convert the result with the converter of llama.cpp, where it is installed.

    Args:
        run: A finished run directory.
        out: File to make.
        outtype: As the converter names it: `auto`, `f16`, `bf16`, `q8_0`, ...

    Raises:
        InputError: The converter is not on the PATH, or does not take this model.
    """
    model = _result_of(run)
    converter = next((found for name in CONVERTERS if (found := shutil.which(name))), None)
    if converter is None:
        raise InputError(
            f"--as gguf needs the converter of llama.cpp, and {CONVERTERS[0]} is not on the PATH. Install llama.cpp, "
            f"or run its converter on {str(model)!r} yourself."
        )
    command = [converter, str(model), "--outfile", str(out), "--outtype", outtype]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not Path(out).is_file():
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
        raise InputError(f"The converter of llama.cpp did not take {str(model)!r}: {reason}.")
    return Path(out)


def export_hub(run: str | Path, repository: str, *, private: bool = True) -> str:
    """Upload the result with its model card; returns the address of the commit.

    Raises:
        InputError: The hub refuses it, or nobody is logged in.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    model = _result_of(run)
    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        done = api.upload_folder(repo_id=repository, folder_path=model, commit_message="Unlearned with srmu")
    except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise InputError(
            f"The hub did not take {repository!r}: {reason}. Log in with 'hf auth login', or check the name."
        ) from None
    return str(done)


def _result_of(run: str | Path) -> Path:
    """The checkpoint of a finished run."""
    read_manifest(run)
    return Path(run) / MODEL_DIR


def _decomposition(base: Path, result: Path, changed: Sequence[str], model: Any) -> Decomposition:
    from transformers.pytorch_utils import Conv1D

    parameters = [name for name, _ in model.named_parameters()]
    transposed = any(isinstance(module, Conv1D) for module in model.modules())
    return decompose(open_checkpoint(base), open_checkpoint(result), changed, parameters, transposed=transposed)


def _ranks(decomposition: Decomposition, rank: int | Literal["auto"]) -> list[int]:
    """Those to look at, in order."""
    if rank != "auto":
        if not 1 <= rank <= decomposition.full_rank:
            raise InputError(
                f"rank={rank!r} was asked for, and the changed matrices allow 1 to {decomposition.full_rank}. "
                "Choose one of them."
            )
        return [rank]
    ranks = []
    at = FIRST_RANK
    while at < decomposition.full_rank:
        ranks.append(at)
        at *= 2
    return [*ranks, decomposition.full_rank]


def _is_enough(score: RankScore, full: RankScore) -> bool:
    if not full.accuracy:
        return score.error <= ERROR_TOLERANCE
    return all(
        abs(score.accuracy[name] - value) <= (FORGET_TOLERANCE if side_of(name) == "forget" else KEPT_TOLERANCE) + 1e-9
        for name, value in full.accuracy.items()
    )


class _Swapped:
    """A model whose decomposed matrices are moved by the change at some rank, and are the base's again at the end."""

    def __init__(self, model: Any, decomposition: Decomposition):
        self.decomposition = decomposition
        self.weights = {module: model.get_submodule(module).weight for module in decomposition.parts}

    def __enter__(self) -> "_Swapped":
        self.base = {module: weight.detach().clone() for module, weight in self.weights.items()}
        return self

    @torch.no_grad()
    def apply(self, rank: int) -> None:
        """The base's matrices and the change, added in float32."""
        for module, weight in self.weights.items():
            change = self.decomposition.change(module, rank).to(weight.device)
            weight.copy_((self.base[module].float() + change).to(weight.dtype))

    @torch.no_grad()
    def __exit__(self, *_: object) -> None:
        for module, weight in self.weights.items():
            weight.copy_(self.base[module])
