"""What a run gives back in Python: the changed matrices, what was measured, and ways to a model and a run directory."""

import html
import shutil
import weakref
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from srmu.errors import InputError
from srmu.evaluation.loading import load_causal_lm, load_tokenizer
from srmu.job.exporting import Conclusion, Exported
from srmu.job.run import Run
from srmu.results.manifest import Manifest
from srmu.results.records import Answer, Results
from srmu.results.run_files import MODEL_DIR

COLUMNS = ("kind", "group", "measure", "before", "after", "change", "stderr")


@dataclass(eq=False, repr=False)
class UnlearnResult:
    """What a run found and made.

    Attributes:
        run_dir: The run directory; of a run without `out` a temporary one, which goes with this object.
        matrices: The changed matrices, by their names in the checkpoint and as they are stored there.
        report: What was measured before and after; empty where nothing was.
        manifest: What the run was: settings, hashes, times.
        answers: To a few prompts, of base and result; never stored.
    """

    run_dir: Path
    matrices: dict[str, Tensor]
    report: Results
    manifest: Manifest
    answers: tuple[Answer, ...]
    _given: Any = field(default=None, repr=False)

    @classmethod
    def of(
        cls, run: Run, conclusion: Conclusion, exported: Exported | None, *,
        given: Any = None, folders: ExitStack | None = None,
    ) -> "UnlearnResult":  # fmt: skip
        """The result of a finished run.

        Args:
            run: The run.
            conclusion: What it says about itself.
            exported: Its matrices; none in a process that does not write.
            given: The model that the caller gave.
            folders: Temporary directories to keep for as long as the result lives.
        """
        result = cls(
            run.directory.path, exported.matrices if exported else {}, conclusion.results, conclusion.manifest,
            conclusion.answers, given,
        )  # fmt: skip
        if folders is not None:
            weakref.finalize(result, folders.close)
        return result

    def __repr__(self) -> str:
        groups = ", ".join(
            f"{name} {group.base.accuracy:.2f} to {group.result.accuracy:.2f}"
            for name, group in self.report.questions.items()
            if group.base is not None
        )
        return f"UnlearnResult({len(self.matrices)} matrices changed{'; ' + groups if groups else ''})"

    @property
    def model_dir(self) -> Path:
        """The complete checkpoint in the run directory."""
        return self.run_dir / MODEL_DIR

    def model(self, *, inplace: bool = False) -> Any:
        """The patched Transformers model.

        Args:
            inplace: Change the model object that was given to `unlearn` and return it; otherwise it stays as it was,
                and a new one is loaded.

        Raises:
            InputError: If it is to be changed in place, and no model object was given.
        """
        given: Any = self._given if isinstance(self._given, nn.Module) else None
        if inplace and given is None:
            raise InputError("inplace=True was asked for, and no model object was given to unlearn. Leave it out.")
        loaded: Any = load_causal_lm(self.model_dir)
        if given is None:
            return loaded
        if not inplace:
            return loaded.to(given.dtype).to(given.device)
        trained = dict(loaded.named_parameters())
        with torch.no_grad():
            for name, parameter in given.named_parameters():
                parameter.copy_(trained[name])
        return given

    def tokenizer(self) -> Any:
        """The tokenizer of the patched model."""
        return load_tokenizer(self.model_dir)

    def save(self, path: str | Path) -> Path:
        """Make a run directory, for `srmu verify`, `srmu attack` and the other commands; returns its path.

        Raises:
            InputError: If there is something at that path already.
        """
        path = Path(path)
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise InputError(f"Output {str(path)!r} exists and is not an empty directory. Choose another path.")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.run_dir, path, dirs_exist_ok=True)
        return path

    def rows(self) -> list[dict[str, str | float | None]]:
        """What was measured, one row per group, with the keys `COLUMNS`.

        Texts have their mean loss in nats per token, questions their accuracy; `stderr` is that of the change.
        """
        found = [("texts", name, "nats per token", group.changes()["nll"]) for name, group in self.report.texts.items()]
        found += [
            ("questions", name, "accuracy", group.changes()["accuracy"])
            for name, group in self.report.questions.items()
        ]
        rows = [
            (kind, name, measure, change.before, change.after, change.difference, change.stderr)
            for kind, name, measure, change in found
        ]
        return [dict(zip(COLUMNS, row, strict=True)) for row in rows]

    def to_frame(self) -> Any:
        """What was measured as a pandas frame, one row per group; see `rows`.

        Raises:
            InputError: If pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise InputError("A frame needs the package pandas. Run 'pip install srmu[notebook]'.") from None
        return pandas.DataFrame(self.rows(), columns=list(COLUMNS))

    def _repr_html_(self) -> str:
        """A table for notebooks, without anything from elsewhere."""
        head = "".join(f"<th>{name}</th>" for name in COLUMNS)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_shown(row[name]))}</td>" for name in COLUMNS) + "</tr>"
            for row in self.rows()
        )
        return (
            f"<p>{len(self.matrices)} matrices changed by {html.escape(self.manifest.method)} in "
            f"{self.manifest.steps} steps.</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )


def _shown(value: str | float | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.3f}"
