"""The documentation: rooms in order, tables of the results' own rows, five questions, notebooks that run."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[\w-]+)?\)")
QUESTIONS = ("forget my texts", "cost me elsewhere", "hold", "settings", "change the target")


@pytest.fixture
def docs_module():
    """`docs_module(name)`: a script of the docs, imported by its name and forgotten afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(DOCS))
    yield importlib.import_module
    sys.path.remove(str(DOCS))
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(DOCS)):
            del sys.modules[name]


def targets(page: Path) -> list[Path]:
    """Files that a page links to."""
    links = LINK.findall(page.read_text(encoding="utf-8"))
    return [(page.parent / link).resolve() for link in links if "://" not in link]


def test_every_link_between_pages_leads_to_a_file():
    pages = [*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    broken = [f"{page.name}: {path}" for page in pages for path in targets(page) if not path.exists()]
    assert broken == []
    assert sum(len(targets(page)) for page in pages) > 60


def test_each_of_a_newcomers_questions_is_answered_within_two_clicks_of_the_first_page():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    rows = [line for line in index.splitlines() if line.startswith("| ") and "?" in line]
    assert len(rows) == len(QUESTIONS)
    for words, row in zip(QUESTIONS, rows, strict=True):
        assert words in row
        first = [(DOCS / link).resolve() for link in LINK.findall(row)]
        assert first
        assert all(path.is_file() for path in first)


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    missing = [
        str(page.relative_to(DOCS))
        for page in (*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb"))
        if str(page.relative_to(DOCS)) not in navigation and page.parent.name != "log"
    ]
    assert missing == []


def test_the_picture_of_rooms_has_no_arrow_upwards(docs_module):
    rooms = docs_module("rooms")
    assert rooms.upwards() == []
    assert rooms.picture().count("<path") > 20
    assert "c62828" not in rooms.picture()  # the colour of a wrong arrow
    assert all(rooms.purpose(room) for room in rooms.rooms())


def test_the_results_page_has_at_most_eight_rows_and_they_are_those_of_the_results(docs_module):
    tables = docs_module("tables")
    rows = tables.results_summary().splitlines()[2:]
    assert len(rows) == 8
    chosen = {(row["method"], row["request"]): row for row in tables.read("protocol.json") if row["arena"] == "real"}
    assert {method for method, _ in chosen} >= set(tables.SHOWN)
    default = next(
        row for row in tables.read("protocol.json")
        if (row["arena"], row["request"], row["retain"], row["method"]) == ("real", "entities", "both", "default")
    )  # fmt: skip
    kept = min(request["kept"] for request in default["requests"].values())
    assert f"{100 * kept:.1f} %" in rows[0]
    assert tables.protocol_rows().count("\n") == len(tables.read("protocol.json")) + 1


def test_every_entry_of_the_log_says_when_with_which_command_and_what_followed():
    entries = sorted(path for path in (DOCS / "log").glob("*.md") if path.name != "index.md")
    index = (DOCS / "log" / "index.md").read_text(encoding="utf-8")
    assert len(entries) >= 31
    for entry in entries:
        text = entry.read_text(encoding="utf-8")
        assert entry.name in index, entry.name
        assert re.search(r"^\| command \| .+ \|$", text, flags=re.M), entry.name
        for command in re.findall(r"`(benchmarks/[\w/]+\.py)`", text.split("\n\n")[1]):
            gone = f"no longer there: `{command}`" in text
            assert (ROOT / command).is_file() or gone, f"{entry.name}: {command}"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    pages = {str(path.relative_to(tmp_path / "site")) for path in (tmp_path / "site").rglob("index.html")}
    assert {"index.html", "reference/settings/index.html", "tutorials/forget/index.html"} <= pages
    assert "{{" not in (tmp_path / "site" / "reference" / "settings" / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["forget", "attack"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_notebook_runs_from_top_to_bottom(name, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    notebook = nbformat.read(DOCS / "tutorials" / f"{name}.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=1800, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error"]
