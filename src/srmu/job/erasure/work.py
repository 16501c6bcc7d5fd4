"""What the next run of a folder of requests has to do, checked before anything is computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srmu.errors import InputError
from srmu.export.manifest import now
from srmu.inputs.corpora import read_corpus
from srmu.inputs.overlap import same_documents
from srmu.inputs.sources import read_apart
from srmu.job.erasure.folder import Folder, checked_files, read_requests
from srmu.job.erasure.new import received_record
from srmu.job.erasure.settings import read_settings, retain_of
from srmu.results.erasure.log import Log, append, entries_of, read_whole_log
from srmu.results.erasure.records import PASSED, Abandoned, Began, Checked, ErasureRequest, RequestCheck, Role
from srmu.results.run_files import MANIFEST_FILE, MODEL_DIR
from srmu.runtime.files import file_sha256
from srmu.surgery.checkpoint import open_checkpoint, resolve_model

ORIGINAL = "original"


@dataclass(frozen=True)
class Work:
    """One run to make, or to go on with.

    Attributes:
        began: As the log says it.
        requests: All of the folder, by id.
        settings: Of the folder.
        original: The original model.
        base: The model that the run begins with.
        waiting: Ids of requests that nobody approved yet.
    """

    began: Began
    requests: Mapping[str, ErasureRequest]
    settings: Mapping[str, Any]
    original: Path
    base: Path
    waiting: tuple[str, ...]

    @property
    def carried_out(self) -> list[ErasureRequest]:
        """The requests that the run carries out."""
        return [self.requests[name] for name, role in self.began.roles.items() if role != "earlier"]


def last_checks(log: Log) -> dict[str, RequestCheck]:
    """The last check of each request that was in a run."""
    return {check.request: check for checked in entries_of(log, "checked") for check in checked.checks}


def unfinished_run(log: Log) -> Began | None:
    """The run that began and did not end, if there is one."""
    ended = {each.run for event in ("checked", "abandoned") for each in entries_of(log, event)}
    return next((began for began in entries_of(log, "began") if began.run not in ended), None)


def plan_work(folder: Folder, *, again: bool, from_base: bool) -> Work:
    """Choose what to do, and write its beginning into the log.

    Args:
        folder: Of the requests.
        again: Carry out again those whose last check failed.
        from_base: Carry out all approved requests on the original model.

    Raises:
        InputError: Nothing is to be done, or something is wrong with log, settings, records or files.
    """
    log = read_whole_log(folder.log)
    settings, requests = read_settings(folder), read_requests(folder)
    if gone := [each.request for each in entries_of(log, "received") if each.request not in requests]:
        raise InputError(
            f"Request {gone[0]!r} is in the log, and its file is gone. Restore it, so that it can be checked."
        )
    original = open_checkpoint(resolve_model(settings["model"], settings.get("revision")))
    shards = {name: file_sha256(original.path / name) for name in original.shards}
    _register(folder, log, requests)
    log = read_whole_log(folder.log)
    records = {name: file_sha256(folder.records / f"{name}.yaml") for name in requests}
    now_is = {"original": shards, "records": records, "settings_sha256": file_sha256(folder.settings)}
    waiting = tuple(name for name, request in requests.items() if not request.approved_by.strip())
    unfinished = unfinished_run(log)
    if unfinished is not None and (again or from_base or (changed := _changed(unfinished, now_is))):
        reason = "begun anew by its user" if again or from_base else changed
        append(folder.log, Abandoned(unfinished.run, reason), now())
        unfinished = None
    began = unfinished or _begin(log, requests, waiting, now_is, again=again, from_base=from_base)
    base = _base(folder, log, began, original.path)
    work = Work(began, requests, settings, original.path, base, waiting)
    _check_files(folder, work)
    if unfinished is None:
        append(folder.log, began, now())
    return work


def _begin(
    log: Log,
    requests: Mapping[str, ErasureRequest],
    waiting: Sequence[str],
    now_is: Mapping[str, Any],
    *,
    again: bool,
    from_base: bool,
) -> Began:
    """What a new run is to do."""
    roles = _choose(log, requests, waiting, again=again, from_base=from_base)
    base = ORIGINAL if from_base else _last_run(log)
    _check_original(log, now_is["original"], base)
    return Began(
        run=f"run-{len(entries_of(log, 'began')) + 1:03}",
        base=base,
        roles=roles,
        approvals={name: requests[name].approved_by for name, role in roles.items() if role != "earlier"},
        **now_is,
    )


def _register(folder: Folder, log: Log, requests: Mapping[str, ErasureRequest]) -> None:
    """Let the log begin for requests whose files somebody wrote by hand."""
    known = {each.request for each in entries_of(log, "received")}
    for name, request in requests.items():
        if name not in known:
            append(folder.log, received_record(request, folder.records / f"{name}.yaml"), now())


def _changed(began: Began, now_is: Mapping[str, Any]) -> str:
    """Why an interrupted run cannot be continued; empty where it can."""
    if began.settings_sha256 != now_is["settings_sha256"]:
        return "the settings changed after it was interrupted"
    if began.original != now_is["original"]:
        return "the original model changed after it was interrupted"
    own = [name for name, role in began.roles.items() if role != "earlier"]
    if changed := [name for name in own if began.records[name] != now_is["records"].get(name)]:
        return f"request {changed[0]} changed after it was interrupted"
    return ""


def _choose(
    log: Log, requests: Mapping[str, ErasureRequest], waiting: Sequence[str], *, again: bool, from_base: bool
) -> dict[str, Role]:
    """What to do with each request."""
    checks = last_checks(log)
    roles: dict[str, Role] = {}
    for name in requests:
        if name in checks:
            failed = checks[name].outcome not in PASSED
            roles[name] = "again" if from_base or (again and failed) else "earlier"
        elif name not in waiting:
            roles[name] = "new"
    if not set(roles.values()) & {"new", "again"}:
        wait = f"{len(waiting)} wait for approval ({', '.join(waiting[:3])}): write 'approved_by' in their files"
        raise InputError(
            "No request is to be carried out. "
            + (f"{wait}." if waiting else "Make one with srmu request new, or carry out failed ones with --again.")
        )
    return roles


def _last_run(log: Log) -> str:
    checked: Sequence[Checked] = entries_of(log, "checked")
    return checked[-1].run if checked else ORIGINAL


def _check_original(log: Log, shards: Mapping[str, str], base: str) -> None:
    """Refuse to go on from a run on another original model."""
    first = next((began for began in reversed(entries_of(log, "began")) if began.base == ORIGINAL), None)
    if base != ORIGINAL and first is not None and first.original != shards:
        raise InputError(
            "The model in the settings is not the one that the earlier requests were carried out on. Name that one "
            "again, or carry out all requests on the new one with --from-base."
        )


def _base(folder: Folder, log: Log, began: Began, original: Path) -> Path:
    if began.base == ORIGINAL:
        return original
    run_dir = folder.runs / began.base
    manifest = run_dir / MANIFEST_FILE
    logged = next(each.manifest_sha256 for each in reversed(entries_of(log, "checked")) if each.run == began.base)
    if not manifest.is_file() or file_sha256(manifest) != logged:
        raise InputError(
            f"The result of {began.base} is not at {str(run_dir)!r} as the log says it was. Restore it, or carry out "
            "all requests on the original model with --from-base."
        )
    return run_dir / MODEL_DIR


def _check_files(folder: Folder, work: Work) -> None:
    """Refuse to carry out requests whose files are gone or changed, or whose texts are also to be kept."""
    for request in work.carried_out:
        if problems := checked_files(folder, request):
            raise InputError(
                f"Request {request.id!r} cannot be carried out: {next(iter(problems.values()))}. Restore the file, or "
                "make a new request."
            )
    field = work.settings.get("text_field", "auto")
    texts = {}
    for name in work.began.roles:
        request = work.requests[name]
        problems = checked_files(folder, request)
        files = [str(folder.resolve(each.path)) for each in request.texts if each.path not in problems]
        if files:
            corpus = read_corpus(files, text_field=field, role="forget")
            texts[name] = [document.as_text() for document in corpus.documents]
    for sources in {tuple(retain_of(folder, work.settings, request)): None for request in work.carried_out}:
        kept = [document.as_text() for corpus in read_apart(sources, text_field=field, role="retain")
                for document in corpus.documents]  # fmt: skip
        for name, documents in texts.items():
            if shared := same_documents(documents, kept):
                raise InputError(
                    f"{len(shared)} of the {len(documents)} texts of request {name!r} are also in the texts to keep, "
                    "which would teach the model what it is to forget. Take them out of 'retain'."
                )
