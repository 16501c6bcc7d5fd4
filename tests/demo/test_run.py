"""`srmu demo` end to end on a tiny random model: the files, what stands in them, and its refusals."""

import json
import shutil

import pytest

from checkpoint_files import all_bytes
from srmu.cli.app import main
from srmu.demo.requests import REQUESTS
from srmu.demo.run import _clear
from srmu.errors import InputError
from srmu.results.records import read_results


@pytest.fixture(scope="module")
def small_request():
    """The africa request cut down to what a schema needs."""
    import dataclasses

    full = REQUESTS["africa"]()
    return dataclasses.replace(
        full,
        forget=full.forget[:8],
        retain_entangled=full.retain_entangled[:8],
        retain_ordinary=full.retain_ordinary[:4],
        questions={name: questions[:6] for name, questions in full.questions.items()},
        text=full.text[:3],
    )


@pytest.fixture(scope="module")
def demo_directory(saved_family, small_request, tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(REQUESTS, "africa", lambda: small_request)
        # What a random model is taught to forget never levels off.
        patch.setattr("srmu.solver.stopping.MOST_STEPS", 40)
        code = main(
            ["demo", "africa", "--methods", "rmu,paper", "--model", str(saved_family("llama")), "--out", str(out)]
        )
    assert code == 0
    return out


def test_the_comparison_holds_every_group_of_the_base_and_of_each_run(demo_directory):
    found = json.loads((demo_directory / "comparison.json").read_text())
    assert "'africa'" in found["title"]
    assert [run["name"] for run in found["runs"]] == ["rmu", "paper", "default"]
    for entry in (found["base"], *found["runs"]):
        assert list(entry["questions"]) == ["forget", "entangled", "neighbours", "other"]
        (later,) = entry["evaluate"]
        assert (later["group"], later["metric"]) == ("text", "nll")
        assert later["score"]["value"] > 0
    assert all(run["seconds"] > 0 and run["peak_mb"] > 0 for run in found["runs"])
    assert found["sides"] == {
        "forget": "forget", "entangled": "kept", "neighbours": "reported", "other": "kept", "text": "kept",
    }  # fmt: skip


def test_the_demo_is_what_compare_finds_in_its_folder(demo_directory, capsys):
    assert main(["compare", str(demo_directory), "--format", "json"]) == 0
    found, own = json.loads(capsys.readouterr().out), json.loads((demo_directory / "comparison.json").read_text())
    assert {**found, "title": ""} == {**own, "title": ""}


def test_every_run_directory_verifies(demo_directory):
    for name in ("rmu", "paper", "default"):
        assert main(["verify", str(demo_directory / name)]) == 0


def test_the_plot_is_a_picture(demo_directory):
    assert (demo_directory / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_second_demo_replaces_the_first_but_nothing_else(demo_directory, tmp_path, capsys):
    (tmp_path / "precious.txt").write_text("mine")
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "something other than a demo" in capsys.readouterr().err
    assert (tmp_path / "precious.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["texts/letter.txt", "texts/letter.jsonl", "comparison.json", "texts"])
def test_a_folder_that_only_looks_like_a_demo_is_not_cleared(name, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    if name == "texts":
        (tmp_path / "texts").write_text("a file")
    else:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    before = all_bytes(tmp_path)
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "something other than a demo" in capsys.readouterr().err
    assert all_bytes(tmp_path) == before


def test_of_an_earlier_demo_only_what_it_wrote_is_removed(demo_directory, tmp_path):
    out = tmp_path / "demo"
    shutil.copytree(demo_directory, out)
    for name in ("mine.txt", "texts/mine.jsonl"):
        (out / name).write_text("mine")
    (out / "robust").mkdir()
    (out / "robust" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="is a run of the demo"):
        _clear(out, str(out / "default" / "model"))
    _clear(out, None)
    left = [name for name, content in all_bytes(out).items() if content is not None]
    assert sorted(left) == ["mine.txt", "robust/thesis.txt", "texts/mine.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["demo", "afrika"], "Did you mean 'africa'"), (["demo", "--methods", "rmuu"], "Did you mean 'rmu'")],
)
def test_unknown_names_are_refused_with_the_nearest(arguments, message, capsys):
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_each_run_is_an_ordinary_one_and_can_be_reported(demo_directory, tmp_path):
    found = json.loads((demo_directory / "comparison.json").read_text())
    for run in found["runs"]:
        own = read_results(demo_directory / run["name"])
        assert own.questions["forget"].result.accuracy == run["questions"]["forget"]["value"]
        assert own.evaluate.texts["text"].base.nll == found["base"]["evaluate"][0]["score"]["value"]
    page = tmp_path / "report.html"
    assert main(["report", str(demo_directory / "default"), "--out", str(page)]) == 0
    assert "entangled" in page.read_text()
