"""Erasure requests as their users type them: made, run, checked again, signed; and everything that may go wrong."""

import io
import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from main_job import FORGET, SETTINGS, call, files_with, sentences, write_texts
from srmu.job.erasure import run as run_module
from srmu.job.erasure.close import close_requests
from srmu.job.erasure.folder import Folder
from srmu.job.erasure.new import a_month_after, new_request
from srmu.job.erasure.run import run_requests
from srmu.job.erasure.status import request_status
from srmu.results.erasure.log import entries_of, read_log
from srmu.runtime.locks import only_one
from srmu.runtime.progress import Progress, Reporter
from tiny_tokenizers import WORDS

SUBJECT = "Jane Doe, born 1970-01-01"
Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_texts(tmp_path_factory.mktemp("texts"))
    (folder / "other.txt").write_text("\n\n".join(sentences(WORDS[4:16], 8, seed=3)))
    return folder


@pytest.fixture(scope="module")
def settings(texts: Path, saved_family: Callable[..., Path]) -> dict[str, Any]:
    """Of a run that is short and measures nothing but the requests."""
    return {
        **SETTINGS, "model": str(saved_family("llama_tied")), "retain": [str(texts / "retain.jsonl")], "steps": 6,
        "eval": False, "questions": {"kept": str(texts / "questions.jsonl")},
    }  # fmt: skip


@pytest.fixture(scope="module")
def ran(texts: Path, settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a request that was carried out; never write to it."""
    folder = make(tmp_path_factory.mktemp("ran") / "erasures", texts, settings)
    run_requests(folder)
    return folder


@pytest.fixture
def folder(ran: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(ran, tmp_path / "erasures"))


def make(folder: Path, texts: Path, settings: dict[str, Any], **changes: Any) -> Path:
    """A folder with one request, r1, that waits."""
    add(folder, "r1", texts / "forget.txt", questions=texts / "questions.jsonl", **changes)
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    return folder


def add(folder: Path, name: str, file: Path, **changes: Any) -> None:
    given = {"subject": SUBJECT, "ground": "GDPR Art. 17(1)(b)", "approved_by": "J. Roe", "received": "2026-11-01"}
    new_request(folder, id=name, texts=[file], **{**given, **changes})


def events(folder: Path) -> list[str]:
    log = read_log(folder / "log.jsonl")
    names = ("received", "began", "abandoned", "checked", "written", "closed")
    return [name for entry in log.entries for name in names if getattr(entry, name) is not None]


def refused(capsys: Capsys, *arguments: str) -> str:
    """The sentence with which a command is refused."""
    code, out, err = call(capsys, "request", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), (code, out, err)
    return err


# What a request leaves behind


def test_a_request_is_made_run_shown_and_closed(
    texts: Path, settings: dict[str, Any], tmp_path: Path, capsys: Capsys
) -> None:
    folder = tmp_path / "erasures"
    words = ["--subject", SUBJECT, "--ground", "GDPR Art. 17(1)(b)", "--approved-by", "J. Roe", "--at-most", "0.99"]
    files = ["--texts", str(texts / "forget.txt"), "--questions", str(texts / "questions.jsonl")]
    code, out, _ = call(capsys, "request", "new", str(folder), *words, *files, "--received", "2026-10-31", "--copy")
    assert (code, out.strip()) == (0, str(folder / "requests" / "2026-001.yaml"))
    record = yaml.safe_load((folder / "requests" / "2026-001.yaml").read_text())
    assert (record["due"], record["texts"][0]["path"]) == ("2026-11-30", "texts/2026-001-1.txt")
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    code, out, _ = call(capsys, "request", "run", str(folder), "--json")
    assert code == 0
    done = json.loads(out)
    assert (done["run"], done["checks"][0]["outcome"]) == ("run-001", "not known before")
    assert call(capsys, "verify", done["run_dir"])[0] == 0
    assert call(capsys, "request", "close", str(folder), "2026-001", "--by", "J. Roe")[0] == 0
    code, out, _ = call(capsys, "request", "status", str(folder), "--contains", done["head"])
    assert code == 0
    assert all(word in out for word in ("2026-001", "closed", "J. Roe", "verified"))
    assert events(folder) == ["received", "began", "checked", "written", "closed", "written"]
    assert "J. Roe" in (folder / "pages" / "run-001.html").read_text()


def test_no_file_holds_the_subject_and_none_but_the_copies_a_text(ran: Path, texts: Path) -> None:
    files = [path for path in ran.rglob("*") if path.is_file()]
    assert not [path for path in files if b"Jane" in path.read_bytes() or b"1970-01-01" in path.read_bytes()]
    assert files_with(ran, FORGET) == []
    # The same search finds them where they are.
    assert files_with(texts, FORGET) == ["forget.txt", "questions.jsonl"]
    logged_and_shown = [ran / "log.jsonl", *(ran / "pages").iterdir()]
    assert not [path for path in logged_and_shown if str(texts) in path.read_text()]


def test_the_same_subject_has_the_same_hash_in_one_folder_and_another_in_the_next(texts: Path, tmp_path: Path) -> None:
    hashes = []
    for place, name in (("one", SUBJECT), ("one", f"  {SUBJECT.upper()} "), ("one", "somebody else"), ("two", SUBJECT)):
        made = new_request(tmp_path / place, subject=name, texts=[texts / "forget.txt"], ground="x")
        hashes.append(made.request.subject)
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
    assert new_request(tmp_path / "one", subject=SUBJECT, texts=[texts / "forget.txt"], ground="x").same_subject == (
        "2026-001", "2026-002",
    )  # fmt: skip
    assert (tmp_path / "one" / "salt").stat().st_mode & 0o777 == 0o600


def test_the_subject_can_come_through_a_pipe(
    texts: Path, tmp_path: Path, capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(SUBJECT + "\n"))
    words = ["--subject", "-", "--texts", str(texts / "forget.txt"), "--ground", "x", "--json"]
    code, out, _ = call(capsys, "request", "new", str(tmp_path / "new"), *words)
    assert code == 0
    assert json.loads(out)["subject"] == Folder(tmp_path / "new").subject(SUBJECT)


def test_a_month_after_is_a_day_of_the_next_month() -> None:
    from datetime import date

    assert a_month_after(date(2026, 1, 31)) == date(2026, 2, 28)
    assert a_month_after(date(2026, 12, 5)) == date(2027, 1, 5)


# Later runs


def test_a_later_request_is_carried_out_on_the_last_result_and_all_are_checked(folder: Path, texts: Path) -> None:
    add(folder, "r2", texts / "other.txt", at_most=0.5)
    done = run_requests(folder)
    assert {check.request: check.role for check in done.checked.checks} == {"r1": "earlier", "r2": "new"}
    manifest = json.loads((done.run_dir / "manifest.json").read_text())
    assert manifest["base"]["parent"]["run"] == "run-001"
    # Without questions the loss of the texts decides, against the original model.
    (r1, r2) = done.checked.checks
    assert (r1.questions is None, r2.questions is None) == (False, True)
    assert r2.outcome == ("less likely" if r2.texts.after > r2.texts.before + 0.01 else "still known")
    assert request_status(folder).problems == ()
    assert "checked again" in done.pages[0].read_text()


def test_all_requests_can_be_carried_out_on_the_original_model(folder: Path, texts: Path) -> None:
    add(folder, "r2", texts / "other.txt")
    done = run_requests(folder, from_base=True)
    assert {check.role for check in done.checked.checks} == {"new", "again"}
    assert "parent" not in json.loads((done.run_dir / "manifest.json").read_text())["base"]


def test_a_request_that_came_back_is_shown_and_carried_out_again_when_asked(
    folder: Path, texts: Path, capsys: Capsys
) -> None:
    file = folder / "requests" / "r1.yaml"
    add(folder, "r2", texts / "other.txt")
    # From now on nothing may be right: what the tiny model guesses is too much.
    file.write_text(file.read_text() + "at_most: 0.0\n")
    code, _, err = call(capsys, "request", "run", str(folder))
    checks = {check.request: check.outcome for check in entries_of(read_log(folder / "log.jsonl"), "checked")[1].checks}
    assert "r1.yaml changed" in " ".join(request_status(folder).problems)
    if checks["r1"] == "still known":
        assert code == 1, err
        line = request_status(folder).requests[0]
        assert (line.state, line.came_back) == ("failed", True)
        assert "says 'still known'" in refused(capsys, "close", str(folder), "r1", "--by", "J. Roe")
        closed = close_requests(folder, ["r1"], by="J. Roe", anyway=True, note="agreed with the supervisor")
        assert closed.closed[0].outcome == "still known"
        assert {check.role for check in run_requests(folder, again=True).checked.checks} >= {"again"}


# Interrupted and repeated


class Stopping(Reporter):
    """Presses Ctrl-C when training has begun."""

    @contextmanager
    def task(self, title: str) -> Iterator[Progress]:
        def progress(done: int, total: int | None) -> None:
            if title == "Unlearning" and done:
                os.kill(os.getpid(), signal.SIGINT)

        yield progress


def test_a_run_that_was_interrupted_is_continued_with_the_requests_that_it_began_with(
    texts: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    folder = make(tmp_path / "erasures", texts, {**settings, "steps": 40})
    with pytest.raises(KeyboardInterrupt, match="srmu request run"):
        run_requests(folder, reporter=Stopping())
    assert request_status(folder).unfinished == "run-001"
    assert request_status(folder).requests[0].state == "begun"
    add(folder, "r2", texts / "other.txt")
    done = run_requests(folder)
    assert [check.request for check in done.checked.checks] == ["r1"]
    assert (done.checked.run, done.checked.steps) == ("run-001", 40)
    assert events(folder).count("began") == 1
    assert run_requests(folder).checked.run == "run-002"


def test_a_run_that_died_after_training_is_not_trained_again(
    texts: Path, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make(tmp_path / "erasures", texts, settings)

    def dies(*_: Any, **__: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(run_module, "check_result", dies)
        with pytest.raises(MemoryError):
            run_requests(folder)
    made = (folder / "runs" / "run-001" / "manifest.json").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(run_module, "write_pages", dies)
        with pytest.raises(MemoryError):
            run_requests(folder)
    assert (folder / "runs" / "run-001" / "manifest.json").read_bytes() == made
    # The page that is owed comes with the next call, which finds nothing else to do.
    with pytest.raises(Exception, match="No request is to be carried out"):
        run_requests(folder)
    assert events(folder) == ["received", "began", "checked", "written"]


def test_an_interrupted_run_whose_request_changed_is_abandoned(
    texts: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    folder = make(tmp_path / "erasures", texts, {**settings, "steps": 40})
    with pytest.raises(KeyboardInterrupt):
        run_requests(folder, reporter=Stopping())
    record = folder / "requests" / "r1.yaml"
    record.write_text(record.read_text().replace("J. Roe", "R. Roe"))
    assert run_requests(folder).checked.run == "run-002"
    assert events(folder) == ["received", "began", "abandoned", "began", "checked", "written"]


def test_a_second_run_at_once_and_one_without_work_are_refused(folder: Path, capsys: Capsys) -> None:
    before = (folder / "log.jsonl").read_bytes()
    with only_one(Folder(folder).lock, "busy"):
        assert "Another srmu request run is at work" in refused(capsys, "run", str(folder))
    assert "No request is to be carried out" in refused(capsys, "run", str(folder))
    assert (folder / "log.jsonl").read_bytes() == before


# What is wrong with records, files and words

SOUND = {
    "format": 1, "id": "r9", "subject": "hmac-sha256:" + "0" * 64, "ground": "x", "received": "2026-11-01",
    "due": "2026-12-01", "approved_by": "J. Roe", "texts": [{"path": "x.txt", "sha256": "0" * 64}],
}  # fmt: skip
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\ntexts: [*b, *b, *b, *b]\n"


def without(key: str) -> str:
    return yaml.safe_dump({name: value for name, value in SOUND.items() if name != key})


def changed(**changes: Any) -> str:
    return yaml.safe_dump({**SOUND, **changes})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        *((without(key), f"'{key}' is missing") for key in ("id", "subject", "ground", "received", "due", "texts")),
        (changed(id="r8"), "not the name of its file"),
        (changed(id="../r9"), "has other characters"),
        (changed(subject="Jane Doe"), "subject is no hash"),
        (changed(due="2026-10-01"), "it was due .* before it was received"),
        (changed(due="soon"), "due 'soon' is no date"),
        ("due: 2026-13-45\n", "not readable YAML"),
        (changed(ground="  "), "ground is empty"),
        (changed(ground="x" * 501), "longer than 500"),
        (changed(texts=[]), "texts is empty"),
        (changed(texts="x.txt"), "expected a list"),
        (changed(texts=[{"path": "x", "sha256": "abc"}]), "not 64 digits"),
        (changed(at_most=1.5), "at_most is 1.5"),
        (changed(at_most=float("nan")), "expected a finite number|expected null"),
        (changed(colour="blue"), "'colour' is unknown"),
        (changed(format=2), "format 2 is not 1"),
        (changed() + "due: 2026-12-31\n", "key 'due' is there twice"),
        (BOMB, "has an alias"),
        ("!!python/object/apply:os.system ['true']", "not readable YAML"),
        ("[" * 3000, "nested deeper than 8"),
        ("a: " + "x" * 70_000, "longer than 64 KiB"),
        ("\x00\x01", "not readable YAML"),
        ("just words", "expected an object"),
        ("", "expected an object"),
    ],
)
def test_a_record_that_is_not_right_is_one_sentence_and_nothing_is_written(
    content: str, words: str, ran: Path, capsys: Capsys
) -> None:
    record, before = ran / "requests" / "r9.yaml", (ran / "log.jsonl").read_bytes()
    record.write_text(content)
    try:
        for command in ("run", "status"):
            sentence = refused(capsys, command, str(ran))
            assert "r9.yaml" in sentence
            assert re.search(words, sentence), sentence
            assert "Jane" not in sentence
            assert len(sentence) < 600
    finally:
        record.unlink()
    assert (ran / "log.jsonl").read_bytes() == before


def test_bytes_that_are_no_text_are_refused(ran: Path, capsys: Capsys) -> None:
    record = ran / "requests" / "r9.yaml"
    record.write_bytes(b"\xff\xfe\x00")
    try:
        assert "not readable YAML" in refused(capsys, "status", str(ran))
    finally:
        record.unlink()


def test_a_request_waits_for_approval_and_its_due_date_is_shown_when_it_is_past(
    folder: Path, texts: Path, capsys: Capsys
) -> None:
    add(folder, "r2", texts / "other.txt", approved_by="", received="2020-01-01")
    assert "wait for approval (r2)" in refused(capsys, "run", str(folder))
    code, out, _ = call(capsys, "request", "status", str(folder), "--json")
    found = json.loads(out)
    assert (code, found["late"], found["requests"][1]["state"]) == (0, ["r2"], "waits for approval")
    assert found["requests"][1]["days_left"] < -2000
    # Approval is written into the file by hand.
    record = folder / "requests" / "r2.yaml"
    record.write_text(record.read_text().replace("approved_by: ''", "approved_by: R. Roe"))
    run_requests(folder)
    assert "R. Roe" in (folder / "pages" / "run-002.md").read_text()
    assert request_status(folder).problems == ()


def test_a_record_that_was_written_by_hand_is_logged_when_it_is_run(folder: Path, texts: Path) -> None:
    sound = {**SOUND, "texts": [vars(Folder(folder).hashed(texts / "other.txt"))]}
    (folder / "requests" / "r9.yaml").write_text(yaml.safe_dump(sound))
    run_requests(folder)
    assert [each.request for each in entries_of(read_log(folder / "log.jsonl"), "received")] == ["r1", "r9"]


def test_texts_that_are_gone_changed_or_also_to_be_kept_are_refused(
    folder: Path, texts: Path, tmp_path: Path, capsys: Capsys
) -> None:
    mine = tmp_path / "mine.txt"
    shutil.copy(texts / "other.txt", mine)
    add(folder, "r2", mine)
    mine.write_text(mine.read_text() + " more")
    assert "changed after the request was made" in refused(capsys, "run", str(folder))
    mine.unlink()
    assert "is not there any more" in refused(capsys, "run", str(folder))
    shutil.copy(texts / "other.txt", mine)
    kept = yaml.safe_load((folder / "settings.yaml").read_text())
    # What an earlier request erased must not be taught again.
    (folder / "settings.yaml").write_text(yaml.safe_dump({**kept, "retain": [str(texts / "forget.txt")]}))
    assert "16 of the 16 texts of request 'r1' are also in the texts to keep" in refused(capsys, "run", str(folder))
    assert "began" not in events(folder)[4:]


def test_an_earlier_request_whose_texts_are_gone_is_checked_by_its_questions(
    texts: Path, settings: dict[str, Any], tmp_path: Path
) -> None:
    mine = tmp_path / "mine.txt"
    shutil.copy(texts / "forget.txt", mine)
    folder = tmp_path / "erasures"
    add(folder, "r1", mine, questions=texts / "questions.jsonl")
    add(folder, "r2", texts / "other.txt", approved_by="")
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    run_requests(folder)
    mine.unlink()
    record = folder / "requests" / "r2.yaml"
    record.write_text(record.read_text().replace("approved_by: ''", "approved_by: R. Roe"))
    check = run_requests(folder).checked.checks[0]
    assert (check.request, check.texts, check.outcome) == ("r1", None, "not known before")
    assert check.notes == ("texts: is not there any more",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": ""}, "names no model"),
        ({"topics": []}, "has a key 'topics'"),
        ({"stepz": 3}, "unknown key 'stepz'"),
        ({"model": "nowhere"}, "nowhere"),
        ({"questions": "kept"}, "expected NAME: PATH pairs"),
        ({"request": "facts", "retain": []}, "request='facts' without retain texts"),
    ],
)
def test_settings_that_are_not_right_are_one_sentence(
    change: dict[str, Any], words: str, folder: Path, texts: Path, capsys: Capsys
) -> None:
    add(folder, "r2", texts / "other.txt")
    settings = yaml.safe_load((folder / "settings.yaml").read_text())
    (folder / "settings.yaml").write_text(yaml.safe_dump({**settings, **change}))
    assert words in refused(capsys, "run", str(folder))
    assert events(folder)[-1] == "received"


def test_requests_that_are_about_some_facts_of_an_entity_are_run_as_such(
    folder: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(folder, "r2", texts / "other.txt")
    settings = yaml.safe_load((folder / "settings.yaml").read_text())
    (folder / "settings.yaml").write_text(yaml.safe_dump({**settings, "request": "facts"}))
    configs = []

    def unlearn(config: Any, **_: Any) -> None:
        configs.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module, "unlearn", unlearn)
    with pytest.raises(KeyboardInterrupt):
        run_requests(folder)
    assert (configs[0].preset, configs[0].target.method) == ("erase", "erasure")


def test_a_later_run_needs_the_result_and_the_original_model_of_the_earlier_ones(
    folder: Path, texts: Path, saved_family: Callable[..., Path], capsys: Capsys
) -> None:
    add(folder, "r2", texts / "other.txt")
    settings = yaml.safe_load((folder / "settings.yaml").read_text())
    (folder / "settings.yaml").write_text(yaml.safe_dump({**settings, "model": str(saved_family("llama"))}))
    assert "not the one that the earlier requests were carried out on" in refused(capsys, "run", str(folder))
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    (folder / "runs" / "run-001").rename(folder / "runs" / "elsewhere")
    assert "--from-base" in refused(capsys, "run", str(folder))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--texts", "nowhere.txt"], "'nowhere.txt' are no file"),
        (["--subject", "  "], "The subject is empty"),
        (["--ground", ""], "ground is empty"),
        (["--due", "2026-10-01"], "before it was received"),
        (["--received", "yesterday"], "--received 'yesterday' is no date"),
        (["--id", "r1"], "There is a request 'r1' already"),
        (["--id", "a/b"], "has other characters"),
        (["--at-most", "2"], "at_most is 2.0"),
        (["--questions", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_a_new_request_that_is_not_right_leaves_nothing(
    arguments: list[str], words: str, ran: Path, texts: Path, capsys: Capsys
) -> None:
    before = sorted(path for path in ran.rglob("*") if "runs" not in path.parts)
    log = (ran / "log.jsonl").read_bytes()
    given = {"--texts": str(texts / "other.txt"), "--subject": SUBJECT, "--ground": "x", "--received": "2026-11-01"}
    given |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    sentence = refused(capsys, "new", str(ran), *(part for pair in given.items() for part in pair), "--copy")
    assert words in sentence
    assert sorted(path for path in ran.rglob("*") if "runs" not in path.parts) == before
    assert (ran / "log.jsonl").read_bytes() == log


def test_only_requests_that_were_carried_out_can_be_closed_and_only_once(
    folder: Path, texts: Path, capsys: Capsys
) -> None:
    add(folder, "r2", texts / "other.txt")
    before = (folder / "log.jsonl").read_bytes()
    assert "was not carried out" in refused(capsys, "close", str(folder), "r1", "r2", "--by", "J. Roe")
    assert "Did you mean 'r1'?" in refused(capsys, "close", str(folder), "r11", "--by", "J. Roe")
    assert "Nobody was named" in refused(capsys, "close", str(folder), "r1", "--by", " ")
    assert (folder / "log.jsonl").read_bytes() == before
    close_requests(folder, ["r1", "r1"], by="J. Roe")
    assert "closed already" in refused(capsys, "close", str(folder), "r1", "--by", "J. Roe")


# What somebody changed afterwards


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("log.jsonl", "log.jsonl, line "),
        ("requests/r1.yaml", "requests/r1.yaml changed"),
        ("pages/run-001.md", "pages/run-001.md is not as it was written"),
        ("runs/run-001/manifest.json", "runs/run-001/manifest.json is not as it was written"),
    ],
)
def test_a_changed_byte_is_found_and_its_place_named(file: str, words: str, folder: Path, capsys: Capsys) -> None:
    content = bytearray((folder / file).read_bytes())
    place = content.rindex(b"2026") + 3 if file.startswith("requests") else len(content) // 2
    content[place] ^= 1
    (folder / file).write_bytes(content)
    code, out, err = call(capsys, "request", "status", str(folder))
    assert code == 1
    assert words in err
    assert "verified" not in out
    if file == "log.jsonl":
        assert "Nothing was added to it" in refused(capsys, "run", str(folder))
        assert "Nothing was added to it" in refused(capsys, "close", str(folder), "r1", "--by", "J. Roe")


def test_removed_records_and_removed_entries_are_found(folder: Path, texts: Path, capsys: Capsys) -> None:
    head = request_status(folder).head
    (folder / "requests" / "r1.yaml").rename(folder / "r1.yaml")
    assert "r1.yaml is gone" in " ".join(request_status(folder).problems)
    add(folder, "r2", texts / "other.txt")
    assert "its file is gone" in refused(capsys, "run", str(folder))
    (folder / "r1.yaml").rename(folder / "requests" / "r1.yaml")
    lines = (folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "log.jsonl").write_bytes(b"".join(lines[:2]))
    assert read_log(folder / "log.jsonl").damage == ()
    assert "removed or rewritten" in " ".join(request_status(folder, contains=head).problems)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path, texts: Path, capsys: Capsys) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert "is no folder of erasure requests" in refused(capsys, "status", str(tmp_path))
    words = ["--subject", SUBJECT, "--texts", str(texts / "forget.txt"), "--ground", "x"]
    assert "holds something other than" in refused(capsys, "new", str(tmp_path), *words)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
