"""Write the page of a run, and its hash into the log."""

from pathlib import Path

from srmu.export.manifest import now
from srmu.job.erasure.folder import Folder
from srmu.results.erasure.log import append, read_whole_log
from srmu.results.erasure.page import make_page, to_html, to_markdown
from srmu.results.erasure.records import Written
from srmu.runtime.files import file_sha256, write_atomic


def write_pages(folder: Folder, run: str) -> tuple[Path, ...]:
    """Write `pages/RUN.md` and `pages/RUN.html` as the log stands now; returns both."""
    page = make_page(read_whole_log(folder.log), run)
    folder.pages.mkdir(exist_ok=True)
    files = tuple(folder.pages / f"{run}{suffix}" for suffix in (".md", ".html"))
    for file, text in zip(files, (to_markdown(page), to_html(page)), strict=True):
        write_atomic(file, text.encode("utf-8", "backslashreplace"))
    append(folder.log, Written(run, {file.name: file_sha256(file) for file in files}), now())
    return files


def write_missing_pages(folder: Folder) -> None:
    """Write the pages that a killed process owes: of runs that something was logged about since their page."""
    owed: dict[str, bool] = {}
    for entry in read_whole_log(folder.log).entries:
        record = entry.checked or entry.closed or entry.written
        if record is not None:
            owed[record.run] = entry.written is None
    for run, is_owed in owed.items():
        if is_owed:
            write_pages(folder, run)
