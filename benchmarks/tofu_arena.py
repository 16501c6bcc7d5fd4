"""The TOFU arena: SmolLM2-135M trained on TOFU, and the same model trained without the forget set.

    python benchmarks/tofu_arena.py --data FOLDER --parts full retain90 retain95 retain99
    python benchmarks/tofu_arena.py --data FOLDER --lora-rank 16 --adapters FOLDER

The model of `full` is the one to unlearn; those of the retain parts are the gold standards of forget10, forget05 and
forget01 (arXiv 2401.06121). The loss is of the answers alone. Each model lies in the cache under the hash of its recipe
and is trained once; what was interrupted goes on after an epoch, to the same bits. About an hour a model on
two CPU cores with bfloat16, a minute on a GPU.

With `--lora-rank`, adapters are trained instead of all weights and kept under the name of the recipe; a model whose
adapter is there is the base with the adapter added, without training.
"""

import argparse
import dataclasses
import hashlib
import json
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_file
from tofu_adapters import add_adapters, merged, write_adapter
from torch import Tensor
from torch.nn.functional import cross_entropy

from srmu.cli.console import TerminalReporter
from srmu.demo.model import demo_model
from srmu.errors import InputError, RunError
from srmu.evaluation.benchmarks.tofu import answer_losses
from srmu.evaluation.benchmarks.tofu_metrics import probability
from srmu.evaluation.benchmarks.tofu_prompt import TofuPrompt, encode_answer
from srmu.evaluation.loading import load_causal_lm, load_tokenizer
from srmu.evaluation.prefix_trees import Pair
from srmu.inputs.jsonl import parse_object
from srmu.job.benchmarks.tofu import RECIPE_FILE
from srmu.runtime.cache import cache_directory
from srmu.runtime.devices import choose_device
from srmu.runtime.files import file_sha256, new_directory, write_json_atomic, write_tensors_atomic
from srmu.runtime.precision import mixed_precision
from srmu.runtime.progress import Reporter
from srmu.surgery.checkpoint import open_checkpoint

PARTS = ("full", "retain90", "retain95", "retain99")
QUESTIONS_AN_AUTHOR = 20
VERSION = 1
"""To be raised when the same recipe would give another training."""
SAMPLE = 200
"""Questions on which the probability is measured after each epoch."""
STATE_FILE = "state.safetensors"
STATE_SECONDS = 120.0
"""A state, of 1.6 GB, is written after the first epoch that ends so long after the last one."""


@dataclass(frozen=True, kw_only=True)
class TofuRecipe:
    """Everything that decides a model of the arena."""

    data: str
    """`full` or a retain part."""
    base_sha256: str
    """Of the base's weight files together."""
    data_sha256: str
    """Of the part's file."""
    authors: str | None = None
    """Only these, counted from 0 in the order of `full`, such as `0-19,22`; None = all."""
    max_epochs: int = 12
    target_probability: float = 0.9
    """Training ends after the epoch in which the mean probability of trained answers reaches this."""
    batch_rows: int = 16
    learning_rate: float = 1e-4
    """Constant after the warm-up, so that the last epoch need not be known."""
    warmup_steps: int = 25
    weight_decay: float = 0.01
    seed: int = 0
    max_steps: int | None = None
    """Ends training early, to try the recipe out."""
    lora_rank: int = 0
    """Of adapters on all linear layers, which are then trained alone; 0 = all weights are."""

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that name the recipe."""
        settings = dataclasses.asdict(self)
        if not self.lora_rank:
            del settings["lora_rank"]  # so that models from before there were adapters keep their names
        content = [VERSION, settings, dataclasses.asdict(TofuPrompt())]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def make_recipe(base: Path, folder: Path, part: str, **changes: Any) -> TofuRecipe:
    """The recipe of a part of the data, with changes."""
    shards = open_checkpoint(base).shards
    weights = hashlib.sha256("".join(file_sha256(base / name) for name in sorted(shards)).encode()).hexdigest()
    return TofuRecipe(data=part, base_sha256=weights, data_sha256=file_sha256(_file(folder, part)), **changes)


def arena_model(
    base: Path,
    folder: Path,
    recipe: TofuRecipe,
    *,
    device: str = "auto",
    cache: Path | None = None,
    adapters: Path | None = None,
    reporter: Reporter,
) -> Path:
    """Directory of the model that a recipe makes; trained, or trained on, where neither it nor its adapter is there.

    Args:
        base: Checkpoint directory.
        folder: Of TOFU's JSONL files.
        recipe: What to make.
        device: To train on.
        cache: Where models are kept; none = srmu's cache.
        adapters: Where adapters are kept; none = in the cache beside the models.
        reporter: Hears of progress.

    Raises:
        InputError: The data or an adapter cannot be read.
        RunError: The loss is not finite.
    """
    home = cache or cache_directory() / "tofu-arena"
    target = home / f"{recipe.data}-{recipe.digest}"
    if (target / RECIPE_FILE).is_file():
        return target
    kept = (adapters or home / "adapters") / target.name
    if recipe.lora_rank and (kept / RECIPE_FILE).is_file():
        record = json.loads((kept / RECIPE_FILE).read_text(encoding="utf-8"))
        _write_model(merged(base, kept), base, target, record, reporter)
        return target
    model = load_causal_lm(base, device=choose_device(device), dtype=torch.float32)
    if recipe.lora_rank:
        add_adapters(model, recipe.lora_rank, recipe.seed)
    else:
        model.requires_grad_(True)
    work = home / f".{target.name}.training"
    epochs, reached = _train(model, read_pairs(folder, recipe, load_tokenizer(base)), recipe, work, reporter)
    record = {**dataclasses.asdict(recipe), "found": {"epochs": epochs, "probability": reached}}
    if recipe.lora_rank:
        with new_directory(kept) as partial:
            write_adapter(model, recipe.lora_rank, partial, base_name=base.name)
            record["found"]["weights_sha256"] = weights_digest(merged(base, partial))
            write_json_atomic(partial / RECIPE_FILE, record)
        # As whoever has the adapter alone makes it.
        model = merged(base, kept)
    # As the base is stored: two bytes a weight.
    _write_model(model.to(load_causal_lm(base).dtype), base, target, record, reporter)
    shutil.rmtree(work, ignore_errors=True)
    return target


def weights_digest(model: Any) -> str:
    """SHA-256 of all weights in the order of their names."""
    digest = hashlib.sha256()
    for _, tensor in sorted(model.state_dict().items()):
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _write_model(model: Any, base: Path, target: Path, record: dict[str, Any], reporter: Reporter) -> None:
    """Write a model with its tokenizer and its recipe; say where its bits are not those that were made first."""
    expected = record["found"].get("weights_sha256")
    if expected is not None and weights_digest(model) != expected:
        reporter.note(f"{target.name}: this machine rounds otherwise, so weights differ in the last bits")
    with new_directory(target) as partial:
        model.save_pretrained(partial)
        load_tokenizer(base).save_pretrained(partial)
        write_json_atomic(partial / RECIPE_FILE, record)


def read_pairs(folder: Path, recipe: TofuRecipe, tokenizer: Any) -> list[Pair]:
    """Token ids of every question of the part and of its answer."""
    records = read_records(_file(folder, recipe.data), recipe.authors)
    return [encode_answer(tokenizer, TofuPrompt(), record["question"], record["answer"]) for record in records]


def read_records(path: Path, authors: str | None) -> list[dict[str, Any]]:
    """The records of some authors of a part; every part begins as `full` does, so a line's number tells the author.

    Raises:
        InputError: A line is no JSON object, or none of the authors is there.
    """
    lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    wanted = None if authors is None else parse_authors(authors)
    records = [
        parse_object(line, f"{str(path)!r}, line {number}")
        for number, line in enumerate(lines, 1)
        if wanted is None or (number - 1) // QUESTIONS_AN_AUTHOR in wanted
    ]
    if not records:
        raise InputError(f"authors={authors!r} was asked for, and none of them is in {str(path)!r}. Give others.")
    return records


def parse_authors(text: str) -> set[int]:
    """The numbers of authors in a list of numbers and ranges, such as `0-19,22`.

    Raises:
        InputError: It is no such list.
    """
    if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text):
        raise InputError(f"authors={text!r} was asked for. Give numbers and ranges, such as 0-19,22.")
    found: set[int] = set()
    for span in text.split(","):
        first, _, last = span.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def answer_loss(model: Any, batch: Sequence[Pair]) -> Tensor:
    """Mean nats over the tokens of the answers; the vocabulary head runs at those alone."""
    width = max(len(asked + answer) for asked, answer in batch)
    ids = torch.tensor([asked + answer + [0] * (width - len(asked + answer)) for asked, answer in batch])
    places = torch.tensor(
        [
            row * width + place
            for row, (asked, answer) in enumerate(batch)
            for place in range(len(asked) - 1, len(asked + answer) - 1)
        ]
    )
    targets = torch.tensor([token for _, answer in batch for token in answer])
    # No mask: padding stands behind all that counts, where nothing sees it.
    hidden = model.get_decoder()(input_ids=ids.to(model.device), use_cache=False).last_hidden_state
    logits = model.get_output_embeddings()(hidden.flatten(0, 1)[places.to(model.device)])
    return cross_entropy(logits.float(), targets.to(model.device))


def _train(model: Any, pairs: Sequence[Pair], recipe: TofuRecipe, work: Path, reporter: Reporter) -> tuple[int, float]:
    """Train in place; returns epochs (the last may be a part) and the probability that was reached."""
    parameters = list(_trained(model).values())
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    epoch, step, reached = _load_state(work, model, optimizer)
    saved = time.monotonic()
    sample = [pairs[place] for place in np.linspace(0, len(pairs) - 1, min(SAMPLE, len(pairs)), dtype=int)]
    total = recipe.max_epochs * -(-len(pairs) // recipe.batch_rows)
    total = min(total, recipe.max_steps or total)
    with reporter.task(f"Training on {recipe.data}") as progress:
        while epoch < recipe.max_epochs and step < total and reached < recipe.target_probability:
            order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(recipe.seed * 1000 + epoch))
            for places in order.split(recipe.batch_rows):
                if step >= total:
                    break
                step += 1
                _step(model, optimizer, [pairs[int(place)] for place in places], recipe, step, reporter)
                progress(step, total)
            epoch += 1
            with mixed_precision(model.device):
                reached = float(probability(answer_losses(model, sample)).mean())
            reporter.note(f"{recipe.data}: epoch {epoch}, step {step}, probability of answers {reached:.3f}")
            if time.monotonic() - saved >= STATE_SECONDS:
                _save_state(work, model, optimizer, {"epoch": epoch, "step": step, "probability": reached})
                saved = time.monotonic()
    return epoch, reached


def _step(
    model: Any, optimizer: torch.optim.AdamW, batch: Sequence[Pair], recipe: TofuRecipe, step: int, reporter: Reporter
) -> None:
    optimizer.param_groups[0]["lr"] = recipe.learning_rate * min(1.0, step / recipe.warmup_steps)
    precision = torch.autocast("cuda", torch.bfloat16) if model.device.type == "cuda" else mixed_precision(model.device)
    with precision:
        loss = answer_loss(model, batch)
    if not loss.isfinite():
        raise RunError(f"The loss of step {step} on {recipe.data!r} is not finite. Take a lower learning rate.")
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    reporter.detail(f"loss {loss.item():.3f}")


def _trained(model: Any) -> dict[str, Any]:
    """The parameters that are trained, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def _save_state(work: Path, model: Any, optimizer: torch.optim.AdamW, progress: dict[str, float]) -> None:
    """Weights, AdamW's moments and where training is, in one file, so that they belong together."""
    work.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {name: torch.tensor(value, dtype=torch.float64) for name, value in progress.items()}
    for name, parameter in _trained(model).items():
        moments = optimizer.state[parameter]
        tensors |= {
            f"weight.{name}": parameter.detach().contiguous(),
            f"mean.{name}": moments["exp_avg"],
            f"square.{name}": moments["exp_avg_sq"],
        }
    write_tensors_atomic(work / STATE_FILE, tensors)


def _load_state(work: Path, model: Any, optimizer: torch.optim.AdamW) -> tuple[int, int, float]:
    """Go on where a state is; returns epochs and steps done and the probability reached."""
    if not (work / STATE_FILE).is_file():
        return 0, 0, 0.0
    tensors = load_file(work / STATE_FILE)
    step = int(tensors["step"])
    with torch.no_grad():
        for name, parameter in _trained(model).items():
            parameter.copy_(tensors[f"weight.{name}"])
            optimizer.state[parameter] = {
                "step": torch.tensor(float(step)),
                "exp_avg": tensors[f"mean.{name}"].to(parameter.device),
                "exp_avg_sq": tensors[f"square.{name}"].to(parameter.device),
            }
    return int(tensors["epoch"]), step, float(tensors["probability"])


def _file(folder: Path, part: str) -> Path:
    if part not in PARTS:
        raise InputError(f"part={part!r} was asked for. The arena's are {', '.join(PARTS)}.")
    path = folder / f"{part}.jsonl"
    if not path.is_file():
        raise InputError(f"{path.name!r} is not in {str(folder)!r}. Give the folder of TOFU's JSONL files with --data.")
    return path


def main() -> None:
    """Train what is asked for and say where it lies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of TOFU's JSONL files")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--base", type=Path, help="checkpoint to begin with; else the demo's SmolLM2-135M-Instruct")
    parser.add_argument("--authors", help="only these, such as 0-19,22 (counted from 0); else all 200")
    parser.add_argument("--max-epochs", type=int, default=TofuRecipe.max_epochs)
    parser.add_argument("--max-steps", type=int, help="end early, to try the recipe out")
    parser.add_argument("--lora-rank", type=int, default=0, help="train adapters of this rank; 0 = all weights")
    parser.add_argument("--adapters", type=Path, help="where adapters are kept; else in the cache")
    parser.add_argument("--learning-rate", type=float, help="else 1e-4, and ten times as much for adapters")
    parser.add_argument("--batch-rows", type=int, default=TofuRecipe.batch_rows)
    parser.add_argument("--seed", type=int, default=TofuRecipe.seed)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    reporter = TerminalReporter()
    base = arguments.base or demo_model(reporter)
    rate = arguments.learning_rate or TofuRecipe.learning_rate * (10 if arguments.lora_rank else 1)
    given = ("authors", "max_epochs", "max_steps", "batch_rows", "seed", "lora_rank")
    changes = {**{name: getattr(arguments, name) for name in given}, "learning_rate": rate}
    for part in arguments.parts:
        recipe = make_recipe(base, arguments.data, part, **changes)
        made = arena_model(
            base, arguments.data, recipe, device=arguments.device, adapters=arguments.adapters, reporter=reporter
        )
        print(part, made)


if __name__ == "__main__":
    main()
