"""The page of erasure requests: what the log says and no more, whatever words are in it."""

from pathlib import Path

import pytest

from results.report.test_page import Reader
from srmu.results.erasure.log import append, read_whole_log
from srmu.results.erasure.page import Page, make_page, to_html, to_markdown
from srmu.results.erasure.records import (
    Began,
    Checked,
    Closed,
    KeptCheck,
    QuestionCheck,
    Received,
    RequestCheck,
    RequirementCheck,
    TextCheck,
)

TIME = "2026-11-26T12:00:00+00:00"
HOSTILE = "<script>alert(1)</script> | `x`\n# [link](http://x) \x1b[2J \u202e"
SUBJECT = "hmac-sha256:" + "5" * 12 + "6" * 52


def request(name: str, ground: str) -> Received:
    return Received(
        request=name, subject=SUBJECT, ground=ground, received="2026-11-01", due="2026-12-01", texts=("a" * 64,),
        record_sha256="b" * 64,
    )  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "log.jsonl"
    append(file, request("r1", "GDPR Art. 17(1)(b)"), TIME)
    append(file, request("r2", HOSTILE), TIME)
    began = Began(
        run="run-001", base="original", original={"model.safetensors": "c" * 64}, roles={"r1": "earlier", "r2": "new"},
        approvals={"r2": HOSTILE}, records={"r1": "b" * 64, "r2": "b" * 64}, settings_sha256="d" * 64,
    )  # fmt: skip
    append(file, began, TIME)
    asked = QuestionCheck(n=12, before=1.0, after=0.25, guessing_before=1e-7, guessing_after=0.84)
    texts = TextCheck(tokens=99, before=1.5, after=6.25, recited_before=1.0, recited_after=0.0)
    checks = (
        RequestCheck(request="r1", role="earlier", outcome="still known", notes=("texts: is not there any more",)),
        RequestCheck(request="r2", role="new", outcome="forgotten", questions=asked, texts=texts, at_most=0.3),
    )
    kept = (
        KeptCheck(group="kept", n=100, before=0.9, after=0.7, stderr=0.02, lost=True),
        KeptCheck(group="near", n=10, before=0.9, after=0.8, side="reported"),
    )
    requirement = RequirementCheck("kept>=0.9", "fail", "kept is 0.7, required >= 0.9")
    checked = Checked(
        run="run-001", manifest_sha256="e" * 64, method="srmu", steps=100, seconds=61.0, checks=checks, kept=kept,
        audited=3000, audit_kept=0.99, requirements=(requirement,),
    )  # fmt: skip
    append(file, checked, TIME)
    return file


def shown(page: Page) -> tuple[str, str]:
    """Words of the HTML page, and the Markdown."""
    return " ".join(Reader(to_html(page)).words), to_markdown(page)


def test_the_page_says_what_was_asked_done_measured_and_not_promised(log: Path) -> None:
    for text in shown(make_page(read_whole_log(log), "run-001")):
        for title in ("asked", "done", "measured", "not promised"):
            assert f"What was {title}" in text or f"What is {title}" in text
        assert "1 request to erase texts from a language model was carried out, and 2 requests in all" in text
        assert "1 passed, 1 did not" in text
        assert "worse than chance explains in: kept." in text
        for number in ("100.0 %", "25.0 %", "84.0 %", "6.25", "99.0 %", "3,000", "e" * 64, read_whole_log(log).head):
            assert number in text, number
        assert "at most 30.0 % may be right" in text
        assert "none was made" in text
        assert SUBJECT not in text
        assert SUBJECT.partition(":")[2][:12] in text


def test_words_of_others_give_no_orders(log: Path) -> None:
    page = make_page(read_whole_log(log), "run-001")
    html, markdown = to_html(page), to_markdown(page)
    assert {tag for tag, _ in Reader(html).tags} & {"script", "a", "img"} == set()
    for text in (html, markdown):
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "<script" not in text
    # All rows of a table have as many cells as its head.
    rows = [line for line in markdown.splitlines() if line.startswith("| ") and "GDPR" not in line]
    (row,) = [line for line in rows if "alert" in line and "2026-12-01" in line]
    head = next(line for line in rows if "legal ground" in line)
    assert row.replace("\\|", "").count("|") == head.count("|")


def test_who_signed_is_on_the_page_when_it_is_written_again(log: Path) -> None:
    assert "not yet" in to_markdown(make_page(read_whole_log(log), "run-001"))
    for name in ("r1", "r2"):
        append(log, Closed(request=name, by="J. Roe", run="run-001", outcome="forgotten", note="seen"), TIME)
    page = to_markdown(make_page(read_whole_log(log), "run-001"))
    assert "not yet" not in page
    assert page.count("J. Roe") == 2
