"""What the stages of a run share: its plan, its directory, its clock, and how it stops."""

import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from srmu.config.settings import UnlearnConfig
from srmu.errors import Interrupted
from srmu.export.run_directory import RunDirectory
from srmu.job.plan import Plan
from srmu.results.manifest import DataRecord
from srmu.results.run_files import MANIFEST_FILE, MODEL_DIR
from srmu.results.study import SearchRecord
from srmu.runtime.processes import from_main, main_process, together
from srmu.runtime.progress import Reporter
from srmu.solver.staged import StagedSolver
from srmu.surgery.scan import scan_checkpoint


@dataclass
class Run:
    """One run on its way.

    Attributes:
        plan: Its inputs; a search of settings replaces it.
        open_directory: Makes or finds the run directory; called once, when all that a user can get wrong is past.
        reporter: Hears of stages and progress.
        resumable: Whether an interrupted run can be taken up again.
        chosen: What a search of settings recorded.
        seconds: Wall time by stage.
        records: What the manifest says of each source of texts.
        base_shards: SHA-256 of the base's weight files when the run began; only in the main process.
        base_stream: Of a few tokens after the tapped layer of the whole base, where it was measured.
    """

    plan: Plan
    open_directory: Callable[[UnlearnConfig], RunDirectory]
    reporter: Reporter
    resumable: bool
    chosen: SearchRecord | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    records: list[DataRecord] = field(default_factory=list)
    base_shards: Mapping[str, str] = field(default_factory=dict)
    base_stream: Tensor | None = None
    directory: RunDirectory = field(init=False)

    @property
    def config(self) -> UnlearnConfig:
        """The settings, as resolved."""
        return self.plan.config

    @property
    def model_dir(self) -> Path:
        """Where the checkpoint goes."""
        return self.directory.path / MODEL_DIR

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the time of this block to a stage's."""
        started = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started

    def read_base(self) -> None:
        """Read the base's weights once before anything is computed.

        Raises:
            InputError: A tensor holds NaN or infinity.
        """
        with together(), self.timed("reading"):
            if main_process():
                self.base_shards = scan_checkpoint(self.plan.checkpoint)

    def open(self) -> None:
        """Open the run directory, in which one process writes."""
        with together():
            if main_process():
                self.directory = self.open_directory(self.config)
                if self.chosen is not None:
                    self.directory.save_choice(self.chosen)
        path = from_main(str(self.directory.path) if main_process() else "")
        if not main_process():
            self.directory = RunDirectory(Path(path), writes=False)

    def stopped(self, solver: StagedSolver, signal_number: int) -> Interrupted:
        """Keep what a resumed run needs, as far as texts may be stored, and say how to go on."""
        path, total = self.directory.path, solver.total_steps
        done = f"Interrupted after step {solver.next_step}" + (f" of {total}" if total else "")
        if (path / MANIFEST_FILE).exists():
            self.directory.finish()
            done = f"Interrupted when all was done; the run is in {str(self.directory.path)!r}."
            return Interrupted(done, signal_number)
        if not self.resumable:
            return Interrupted(
                f"{done}. The run cannot be resumed: that needs a run directory (out=PATH), a model and tokenizer that "
                "were given by name, and texts in files, or save_every=N, which stores them.",
                signal_number,
            )
        self.directory.save_config(self.config)
        self.directory.save_state(solver.state())
        return Interrupted(f"{done}. Continue with: srmu unlearn --resume {shlex.quote(str(path))}", signal_number)
