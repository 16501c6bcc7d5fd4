import html
import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from measured_runs import (
    FORGET_TEXT,
    GROUPS,
    add_evaluated,
    make_audit,
    make_fluency,
    make_manifest,
    make_results,
    write_demo,
    write_measured,
)
from srmu.cli.app import main
from srmu.errors import InputError
from srmu.results.attack_records import AttackRecord
from srmu.results.records import Results
from srmu.results.report import plots
from srmu.results.report.numbers import FORMATS, number
from srmu.results.report.page import render, write_report

# Digits in the page's own words.
NAMES_WITH_DIGITS = ("SHA-256",)
VOID = {"meta", "link", "br", "line", "rect", "circle", "polyline"}


class Reader(html.parser.HTMLParser):
    """Visible text outside of `<data>`; each `<data>` value with its text; tags and attributes."""

    def __init__(self, page: str):
        super().__init__()
        self.path: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.values: list[tuple[str, str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.path.append((tag, dict(attrs)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self.path.pop()
        assert opened == tag, f"<{opened}> closed by </{tag}>"

    def handle_data(self, data: str) -> None:
        if any(tag == "style" for tag, _ in self.path):
            return
        tag, attributes = self.path[-1] if self.path else ("", {})
        if tag == "data":
            self.values.append((attributes["value"] or "", data))
        elif "tick" not in (attributes.get("class") or ""):
            self.words.append(data)


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.items() for leaf in leaves(list(item))]
    return [leaf for item in value for leaf in leaves(item)] if isinstance(value, list) else [value]


def assert_numbers_are_recorded(page: str, *directories: Path) -> int:
    """Every number of the page stands in the JSON files of these directories; returns how many there are."""
    files = [
        file for folder in directories for file in (folder / "manifest.json", folder / "results.json") if file.exists()
    ]
    recorded = [leaf for file in files for leaf in leaves(json.loads(file.read_text()))]
    numbers = {float(leaf) for leaf in recorded if isinstance(leaf, (int, float))}
    strings = [leaf for leaf in recorded if isinstance(leaf, str)] + [folder.name for folder in directories]
    reader = Reader(page)
    for value, text in reader.values:
        assert float(value) in numbers, f"{text} ({value}) is in no file"
        texts = {form(float(value)).replace(" ", "\xa0") for form in FORMATS.values()} | {f"{float(value):g}"}
        assert text in texts, f"{text} is not {value}"
    for word in re.findall(r"\S*\d\S*", " ".join(reader.words)):
        bare = word.strip("“”(),.:'")
        assert bare in NAMES_WITH_DIGITS or any(bare in string for string in strings), f"{bare!r} is in no file"
    return len(reader.values)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with everything that the page can show."""
    manifest = make_manifest(require=["forget<=0.30", "entangled>=0.98*base", "attack.probe<=0.45"])
    manifest["base"]["chain"] = [
        {
            "run": "earlier", "manifest_sha256": "aa" * 32, "created": "2026-11-20T08:00:00+00:00",
            "forget": [{"documents": 12, "source": "x", "sha256": "bb" * 32}], "seconds": {"training": 40.5},
            "questions": {"forget": {"base": 0.9, "result": 0.3}}, "texts": {"forget": {"base": 3.0, "result": 4.5}},
        }
    ]  # fmt: skip
    attacks = {
        "relearn": AttackRecord(status="result", forget_before=0.28, forget_after=0.4, base_after=0.9, utility=0.99),
        "probe": AttackRecord(status="skipped"),
    }
    results = make_results(attacks=attacks, audit=make_audit(), fluency=make_fluency())
    return write_measured(tmp_path / "first", results, manifest)


def test_every_number_of_a_run_s_page_is_recorded(run: Path) -> None:
    assert assert_numbers_are_recorded(render([run]), run) > 60


def test_the_check_of_numbers_finds_one_that_is_not_recorded(run: Path) -> None:
    page = render([run])
    for forged in (page.replace("</main>", "<p>0.987</p></main>"), page.replace("</main>", f"{number(0.987)}</main>")):
        with pytest.raises(AssertionError, match=r"0\.987"):
            assert_numbers_are_recorded(forged, run)


def test_every_number_of_a_demo_and_of_a_comparison_is_recorded(tmp_path: Path) -> None:
    demo = write_demo(tmp_path / "demo")
    assert assert_numbers_are_recorded(render([demo]), demo, demo / "rmu", demo / "default") > 60
    pair = [write_measured(tmp_path / name) for name in ("a", "b")]
    page = render(pair)
    assert assert_numbers_are_recorded(page, *pair) > 60
    assert "Frontier" in page


def test_the_page_says_what_was_forgotten_what_was_kept_and_what_it_cost(run: Path) -> None:
    text = " ".join(" ".join(Reader(render([run])).words).split())
    for words in ("more than chance explains", "No kept group got worse", "Requests one after another", "earlier",
                  "secrets.jsonl", "skipped", "model.layers.6.mlp.down_proj.weight", "Limits"):  # fmt: skip
        assert words in text


def test_a_destroyed_model_is_called_one_and_the_base_no_forgetting(tmp_path: Path) -> None:
    destroyed = make_results({**GROUPS, "entangled": (0.95, 0.25, 0.06)})
    assert "It cost more than chance explains on <em>entangled" in render([write_measured(tmp_path / "a", destroyed)])
    same = make_results({name: (before, before, 0.0) for name, (before, _, _) in GROUPS.items()})
    assert "no sign of forgetting" in render([write_measured(tmp_path / "b", same)])


def test_the_audit_stands_on_the_page_the_worst_field_first(run: Path) -> None:
    page = render([run])
    section = page[page.index("<h2>What nobody asked about") :]
    table = section[section.index("least was kept first") :]
    assert table.index("rivers and seas") < table.index(">food<")
    assert "<svg" in section[: section.index("least was kept first")]
    assert "That is a loss outside the request, most in <em>rivers and seas</em>" in page
    assert "Other things about the names" in page


def test_the_language_of_answers_stands_on_the_page(run: Path, tmp_path: Path) -> None:
    page = render([run])
    section = page[page.index("Language when asked") :]
    assert all(f'<data value="{value}">' in section for value in (0.82, 0.41, 4.5))
    assert "Language when asked" not in render([write_measured(tmp_path / "b", make_results())])


def test_a_run_that_lost_nothing_else_says_so_and_one_without_audit_nothing(tmp_path: Path) -> None:
    kept = write_measured(tmp_path / "a", make_results(audit=make_audit(bank=0.95, names=0.95)))
    page = render([kept])
    assert "Nothing of weight was lost outside the request" in page
    assert "Other things about the names" not in page
    without = render([write_measured(tmp_path / "b", make_results())])
    assert "outside the request" not in without
    assert "What nobody asked about" not in without


def test_a_run_that_was_not_measured_claims_nothing(tmp_path: Path) -> None:
    page = render([write_measured(tmp_path / "a", Results())])
    assert "Nothing was measured" in page
    assert "Before and after" not in page


def test_the_page_needs_no_network_and_no_script_and_every_picture_has_a_text(run: Path) -> None:
    page = render([run])
    reader = Reader(page)
    assert not re.search(r"https?://|url\(|@import|<script|javascript:", page)
    assert all((attributes.get("href") or "data:").startswith("data:") for _, attributes in reader.tags)
    pictures = [attributes for tag, attributes in reader.tags if tag == "svg"]
    assert len(pictures) == 7
    assert all(picture["role"] == "img" and picture["aria-label"] for picture in pictures)
    assert not [tag for tag, _ in reader.tags if tag == "img"]


def test_names_from_files_cannot_bring_markup_in(tmp_path: Path) -> None:
    results = make_results({"forget<script>alert(1)</script>": (0.9, 0.3, 0.1), "kept": (0.9, 0.9, 0.1)})
    manifest = make_manifest(method='"><img src=x onerror=alert(1)>')
    manifest["changed"][0]["name"] = "<b>bold"
    page = render([write_measured(tmp_path / "a", results, manifest)])
    assert not {"script", "img", "b"} & {tag for tag, _ in Reader(page).tags}


def test_answers_are_shown_only_where_they_are_asked_for(run: Path, tmp_path: Path) -> None:
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps([{"prompt": "What opens the vault?", "base": FORGET_TEXT, "result": "No <idea>."}]))
    assert FORGET_TEXT not in render([run])
    page = render([run], answers=answers)
    assert FORGET_TEXT in page
    assert "No &lt;idea&gt;." in page
    for broken in ("{", '{"a": 1}', "[1]", '[{"prompt": "x"}]'):
        answers.write_text(broken)
        with pytest.raises(InputError, match="srmu ask --json"):
            render([run], answers=answers)


def test_the_command_writes_the_page_beside_the_run_or_where_it_is_told(run: Path, tmp_path: Path) -> None:
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").read_text().startswith("<!DOCTYPE html>")
    other = write_measured(tmp_path / "second")
    assert main(["report", str(run), str(other)]) == 2
    assert main(["report", str(run), str(other), "--out", str(tmp_path / "both.html")]) == 0
    (tmp_path / "empty").mkdir()
    assert main(["report", str(tmp_path / "empty")]) == 2
    with pytest.raises(InputError, match="cannot be written"):
        write_report([run], out=tmp_path / "absent" / "x.html")


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# Written by the test alone: the page itself has no script.
PROBE = """<script>addEventListener("load", () => {
  const width = document.documentElement.clientWidth; parent.postMessage([{
  page: location.pathname.split("/").pop(), inner: innerWidth, overflow: document.documentElement.scrollWidth - width,
  wide: [...document.querySelectorAll("main *")].filter(e => e.getBoundingClientRect().right > width + 1)
    .map(e => e.tagName + " " + e.textContent.slice(0, 40)),
  empty: [...document.querySelectorAll("svg, img")].filter(e => !e.getBoundingClientRect().height).length }], "*") })
</script>"""
COLLECT = """<script>const found = []; addEventListener("message", event => { found.push(...event.data);
  document.title = JSON.stringify(found) })</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_fits_a_phone_and_a_screen_without_a_console_error(run: Path, tmp_path: Path) -> None:
    pages = {"run.html": render([run]), "demo.html": render([write_demo(tmp_path / "demo")])}
    for name, page in pages.items():
        (tmp_path / name).write_text(page.replace("</head>", PROBE + "</head>"))
    # Frames, since a window is never as narrow as a phone.
    frames = [f'<iframe src="{name}" width="{width}" height="900"></iframe>' for name in pages for width in (390, 1280)]
    style = "<style>iframe { border: 0 }</style>"
    (tmp_path / "frames.html").write_text(f"<!DOCTYPE html><head>{style}{COLLECT}</head><body>{''.join(frames)}</body>")
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr", "--virtual-time-budget=3000", "--window-size=1400,1000", "--dump-dom",
        (tmp_path / "frames.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    title = re.search("<title>(.*?)</title>", done.stdout)
    assert title, done.stdout[-500:] + done.stderr[-500:]
    found = json.loads(html.unescape(title[1]))
    assert sorted((entry["page"], entry["inner"]) for entry in found) == [
        ("demo.html", 390), ("demo.html", 1280), ("run.html", 390), ("run.html", 1280),
    ]  # fmt: skip
    assert all(entry["overflow"] <= 0 and not entry["wide"] and entry["empty"] == 0 for entry in found), found
    assert "CONSOLE" not in done.stderr


def test_what_was_evaluated_later_is_on_the_page_with_its_source_and_every_number_is_recorded(tmp_path: Path) -> None:
    run = write_measured(tmp_path / "first", add_evaluated(Results()))
    page = render([run])
    assert_numbers_are_recorded(page, run)
    for words in ("Measured later with srmu evaluate", "probe.jsonl", "lm-evaluation-harness", "more than chance"):
        assert words in page
    assert "Nothing was measured" not in page
    pair = [write_measured(tmp_path / name, add_evaluated(make_results())) for name in ("a", "b")]
    page = render(pair)
    assert_numbers_are_recorded(page, *pair)
    assert "local_task, acc,none (evaluate)" in page


def test_points_in_one_place_show_as_rings() -> None:
    series = [plots.Series(name, [0.5], [0.5]) for name in ("a", "b", "c")]
    words = {"x_label": "x", "y_label": "y", "title": "t", "description": "d"}
    radii = re.findall(r'<circle [^>]*r="(\d+)"', plots.scatter(series, **words))
    assert radii == ["11", "8", "5"]


def test_settings_have_a_column_for_assumptions_only_where_there_is_one(tmp_path: Path) -> None:
    assert "assumed, and why" in render([write_measured(tmp_path / "a")])
    plain = make_manifest()
    plain["assumed"] = {}
    assert "assumed, and why" not in render([write_measured(tmp_path / "b", manifest=plain)])
