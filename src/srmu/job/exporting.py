"""The stages that write: the checkpoint with its proof, then what the run says about itself."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from srmu.evaluation.measure import Measurement, compare
from srmu.export.patch import CheckReport, check_only_changed, export_checkpoint, name_some
from srmu.inputs.rows import TokenRows
from srmu.job.record import run_card, write_card, write_records
from srmu.job.run import Run
from srmu.results.fluency_records import FluencyGroup
from srmu.results.manifest import Manifest
from srmu.results.records import Answer, Results
from srmu.runtime.files import new_directory
from srmu.runtime.processes import main_process, together
from srmu.solver.staged import StagedSolver
from srmu.surgery.names import stored_results
from srmu.surgery.scan import check_same_base


@dataclass(frozen=True)
class Exported:
    """A checkpoint on the disk, proven to be the base apart from the trained matrices.

    Attributes:
        matrices: Those, by their stored names, as they are stored.
        report: The proof.
        moved: How far held-out tokens of each group moved, relative to their frozen norm.
    """

    matrices: dict[str, Tensor]
    report: CheckReport
    moved: Mapping[str, float]


def export(run: Run, solver: StagedSolver, heldout: Mapping[str, TokenRows]) -> Exported | None:
    """Write the checkpoint; the main process gets it, while the others wait.

    Raises:
        RunError: If the checkpoint differs from the base where it must not, or nowhere.
    """
    exported = None
    # Where ranks share layers, all must run them.
    moved = solver.moved_by_group(heldout) if solver.stage.replayer.sharded else {}
    with together():
        if main_process():
            moved = moved or solver.moved_by_group(heldout)
            matrices = stored_results(solver.stage.truncated, run.plan.checkpoint, solver.trained_parameters())
            exported = Exported(matrices, _write_checkpoint(run, matrices), moved)
    return exported


def _write_checkpoint(run: Run, matrices: Mapping[str, Tensor]) -> CheckReport:
    """Write the checkpoint; it gets its name once it is proven on disk that only what is named changed."""
    checkpoint = run.plan.checkpoint
    # Of a run that was interrupted after this.
    shutil.rmtree(run.model_dir, ignore_errors=True)
    with (
        run.timed("export"),
        run.reporter.task("Writing and checking") as progress,
        new_directory(run.model_dir) as partial,
    ):
        progress(0, 2)
        export_checkpoint(checkpoint, matrices, partial, readme=run_card(run.plan, run.records))
        progress(1, 2)
        experts = any("experts" in name for names in run.plan.parameter_names.values() for name in names)
        report = check_only_changed(checkpoint, partial, list(matrices), allow_unchanged=experts)
        check_same_base(run.base_shards, report.base_shards)
        progress(2, 2)
    if report.left_out:
        run.reporter.note(f"Weights in other formats were left out of the result: {name_some(report.left_out)}.")
    return report


@dataclass(frozen=True)
class Conclusion:
    """What a finished run says about itself."""

    manifest: Manifest
    results: Results
    answers: tuple[Answer, ...]


def conclude(
    run: Run,
    solver: StagedSolver,
    exported: Exported,
    before: Measurement | None,
    after: Measurement | None,
    shown: Sequence[str],
    fluency: FluencyGroup | None,
) -> Conclusion:
    """Write card, results and, last, the manifest.

    Args:
        run: The run.
        solver: After its last step.
        exported: The checkpoint.
        before: What was measured of the base; none = nothing was.
        after: Of the result.
        shown: Prompts whose answers are shown, the first that were asked.
        fluency: Whether answers are still language.
    """
    results = Results()
    answers: tuple[Answer, ...] = ()
    if before is not None and after is not None:
        results = compare(before, after, run.config.data.sides)
        moved = {name: replace(group, moved=exported.moved.get(name)) for name, group in results.texts.items()}
        results = replace(results, texts=moved, fluency=fluency)
        answers = tuple(
            Answer(prompt, result, base)
            for prompt, base, result in zip(shown, before.answers, after.answers, strict=False)
        )
    path = run.directory.path
    write_card(path, run.plan, run.records, exported.report, results)
    manifest = write_records(
        path, run.plan, run.records, solver, exported.report, results, seconds=run.seconds, chosen=run.chosen
    )
    return Conclusion(manifest, results, answers)
