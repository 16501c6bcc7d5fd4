"""Carry out erasure requests: a run for all that wait, then a check of every request so far, then the page to sign."""

from dataclasses import dataclass
from pathlib import Path

from srmu.config.settings import UnlearnConfig
from srmu.errors import Interrupted
from srmu.export.manifest import now
from srmu.job.erasure.check import check_result
from srmu.job.erasure.folder import Folder
from srmu.job.erasure.pages import write_missing_pages, write_pages
from srmu.job.erasure.settings import config_of
from srmu.job.erasure.work import plan_work
from srmu.job.unlearn import resume, unlearn
from srmu.results.erasure.log import append, read_whole_log
from srmu.results.erasure.records import Checked
from srmu.results.run_files import CONFIG_FILE, MANIFEST_FILE
from srmu.runtime.files import readable_errors
from srmu.runtime.locks import only_one
from srmu.runtime.progress import Reporter


@dataclass(frozen=True)
class RequestRun:
    """What a run of requests came to.

    Attributes:
        run_dir: Its run directory.
        checked: What was measured, as the log has it.
        pages: The page to sign, as Markdown and as HTML.
        head: Hash of the log's last entry; keep it elsewhere.
        waiting: Ids of requests that nobody approved yet.
    """

    run_dir: Path
    checked: Checked
    pages: tuple[Path, ...]
    head: str
    waiting: tuple[str, ...]


def run_requests(
    folder: str | Path, *, again: bool = False, from_base: bool = False, reporter: Reporter | None = None
) -> RequestRun:
    """Carry out all approved requests that wait, in one run, and check all earlier ones on its result.

    The first run begins with the model that `settings.yaml` names, each later one with the result of the one before. A
    run that was interrupted is continued.

    Args:
        folder: Folder of requests.
        again: Carry out again those whose last check failed.
        from_base: Carry out all approved requests, the earlier ones too, on the original model.
        reporter: Hears of stages and progress; none = silent.

    Returns:
        What was measured; it is in the log and on the page.

    Raises:
        InputError: Nothing waits, another run is at work, or log, settings, records or files are not right; whatever
            run began is in the log.
        RunError: The run could not end well.
        Interrupted: Ctrl-C or SIGTERM came; the next call goes on.
    """
    place, reporter = Folder(folder), reporter or Reporter()
    place.check()
    busy = f"Another srmu request run is at work in {str(place.path)!r}. Wait until it has ended."
    with readable_errors(place.path), only_one(place.lock, busy):
        write_missing_pages(place)
        work = plan_work(place, again=again, from_base=from_base)
        run_dir = place.runs / work.began.run
        config = config_of(place, work.settings, work.carried_out, work.base, run_dir.absolute())
        reporter.note(
            f"{work.began.run}: {len(work.carried_out)} requests on "
            f"{'the original model' if work.base == work.original else 'the result of ' + work.began.base}"
        )
        try:
            _unlearn(run_dir, config, reporter)
        except Interrupted as stopped:
            stopped.args = (f"Interrupted. Continue with: srmu request run {place.path}",)
            raise
        checked = check_result(
            place, config, work.requests, work.began.roles, original=work.original, run_dir=run_dir, reporter=reporter
        )
        append(place.log, checked, now())
        pages = write_pages(place, checked.run)
        return RequestRun(run_dir, checked, pages, read_whole_log(place.log).head, work.waiting)


def _unlearn(run_dir: Path, config: UnlearnConfig, reporter: Reporter) -> None:
    """Make the run, or what is left of it."""
    if (run_dir / MANIFEST_FILE).is_file():
        return
    if (run_dir / CONFIG_FILE).is_file():
        resume(run_dir, reporter=reporter)
    else:
        # What a killed process left there is a run without an end, and nothing else.
        unlearn(config, reporter=reporter)
