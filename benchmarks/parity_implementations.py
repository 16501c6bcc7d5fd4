"""Other implementations of TOFU and MUSE, run from their checkouts, and how a number of theirs stands beside ours."""

import contextlib
import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TAGS = {
    "apply_chat_template": False, "user_start_tag": "Question: ", "user_end_tag": "\n", "asst_start_tag": "Answer: ",
    "asst_end_tag": "\n\n",
}  # fmt: skip
GREEDY = {"do_sample": False, "top_p": None, "temperature": None, "use_cache": True}


@dataclass(frozen=True)
class Row:
    """One number, here and there.

    Attributes:
        metric: Its name.
        against: The other implementation.
        ours: The number here, the mean of `items` where there are several.
        theirs: The number there.
        items: How many were compared one by one.
        largest_difference: Of an item, absolute.
    """

    metric: str
    against: str
    ours: float
    theirs: float
    items: int
    largest_difference: float


def row(metric: str, against: str, ours: Any, theirs: Any) -> Row:
    """Of numbers in the order of the items, or of one number each."""
    one, two = np.atleast_1d(np.asarray(ours, np.float64)), np.atleast_1d(np.asarray(theirs, np.float64))
    assert one.shape == two.shape, (metric, one.shape, two.shape)
    return Row(metric, against, float(one.mean()), float(two.mean()), one.size, float(np.abs(one - two).max()))


class OpenUnlearning:
    """Its evaluation, from a checkout, on one model."""

    name = "OpenUnlearning"

    def __init__(self, checkout: Path, model: Any, tokenizer: Any, limit: int | None):
        _import_from(checkout)
        from data.collators import DataCollatorForSupervisedDataset
        from data.pretraining import CompletionDataset
        from data.qa import QADataset

        self.model, self.tokenizer, self.limit = model, tokenizer, limit
        self.question_set, self.text_set, self.collator = QADataset, CompletionDataset, DataCollatorForSupervisedDataset
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token_id = tokenizer.eos_token_id

    def run(self, function: str, module: str, **arguments: Any) -> dict[str, Any]:
        """What a metric of theirs returns."""
        metric = getattr(__import__(f"evals.metrics.{module}", fromlist=[function]), function)
        with open("/dev/null", "w") as nowhere, contextlib.redirect_stdout(nowhere):
            return metric._metric_fn(self.model, **arguments)

    def source(self, path: Path) -> dict[str, str]:
        """A file as their loader takes it."""
        part = "train" if self.limit is None else f"train[:{self.limit}]"
        return {"path": "json", "data_files": str(path), "split": part}

    def questions(self, path: Path, answer: str, *, write: bool = False, examples: Path | None = None) -> Any:
        """Their question set; answers are written, or their tokens scored."""
        few = None if examples is None else {"path": "json", "data_files": str(examples), "split": "train"}
        found = self.question_set(
            hf_args=self.source(path), template_args=TAGS, tokenizer=self.tokenizer, answer_key=answer,
            few_shot_dataset_hf_args=few, predict_with_generate=write,
        )  # fmt: skip
        # They add a list to a column, which `datasets` gave as a list before version 4.
        found.fs_data = found.fs_data and {key: list(column) for key, column in found.fs_data.items()}
        return found

    def scored(self, function: str, module: str, data: Any, **arguments: Any) -> dict[str, Any]:
        """A metric of theirs over a data set, eight items at once."""
        side = "left" if function == "rouge" else "right"
        collator = self.collator(self.tokenizer, padding_side=side, index="index")
        more = {"tokenizer": self.tokenizer} if function == "rouge" else {}
        return self.run(function, module, data=data, collators=collator, batch_size=8, **more, **arguments)


def _import_from(checkout: Path) -> None:
    """Make their packages importable without what only their command line needs."""
    if not (checkout / "src" / "evals" / "metrics").is_dir():
        raise SystemExit(f"{checkout} is no checkout of open-unlearning: it has no src/evals/metrics.")
    sys.path.insert(0, str(checkout / "src"))
    if "omegaconf" not in sys.modules:
        # There it only turns settings into plain dicts.
        stub: Any = types.ModuleType("omegaconf")
        stub.DictConfig, stub.ListConfig = dict, list
        stub.OmegaConf = types.SimpleNamespace(to_container=lambda settings, **_: dict(settings))
        sys.modules["omegaconf"] = stub
    for name in ("data", "evals", "evals.metrics"):
        # Their __init__ files import every data set, trainer and evaluator.
        package = types.ModuleType(name)
        package.__path__ = [str(checkout / "src" / name.replace(".", "/"))]
        sys.modules[name] = package
    sys.modules["data"].get_datasets = sys.modules["data"].get_collators = None  # type: ignore[attr-defined]


def values(found: Mapping[str, Any], key: str) -> list[float]:
    """By item, in the order of the file; a set of one answer has lists of one."""
    return [float(np.mean(entry[key])) for entry in found["value_by_index"].values()]
