import json
import shutil
from pathlib import Path

import pytest

from export.conftest import write_run
from measured_runs import make_results
from sealed import seal
from srmu.export.verify import Check, verify_run
from srmu.results.manifest import BeforeAfter, ForgottenSource, read_manifest
from srmu.results.records import add_results
from srmu.results.schema import to_json


def chain_check(run_dir: Path) -> Check:
    (check,) = [check for check in verify_run(run_dir) if check.name == "chain of requests"]
    return check


@pytest.fixture
def runs(base_dir: Path, tmp_path: Path) -> list[Path]:
    """Three requests, each on the model of the one before; the first was measured."""
    first = write_run(base_dir, tmp_path / "first")
    add_results(first, lambda _: make_results())
    second = write_run(first / "model", tmp_path / "second")
    return [first, second, write_run(second / "model", tmp_path / "third")]


def edit(run_dir: Path, **changes: object) -> None:
    file = run_dir / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    seal(run_dir)


def test_the_manifest_keeps_the_requests_before_and_their_cost(runs: list[Path]) -> None:
    chain = read_manifest(runs[2]).base.chain
    assert [request.run for request in chain] == ["first", "second"]
    assert chain[0].questions["forget"] == BeforeAfter(0.92, 0.28)
    assert chain[0].seconds == {"training": 1.0}
    assert chain[0].forget == (ForgottenSource("text", "0" * 64, 1),)
    assert chain[1].questions == {}
    assert read_manifest(runs[0]).base.chain == ()


def test_verification_follows_the_chain_back_to_the_base(runs: list[Path], base_dir: Path) -> None:
    check = chain_check(runs[2])
    assert check.status == "pass"
    assert f"first, second, back to the base {base_dir.name!r}" in check.detail
    assert "no earlier request" in chain_check(runs[0]).detail


def test_runs_that_were_moved_together_are_still_followed(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for run in runs:
        shutil.move(run, tmp_path / "elsewhere")
    assert chain_check(tmp_path / "elsewhere" / "third").status == "pass"


def test_a_manifest_that_was_changed_afterwards_breaks_the_chain(runs: list[Path]) -> None:
    edit(runs[0], assumed={"edited": "yes"})
    check = chain_check(runs[2])
    assert check.status == "fail"
    assert "'first'" in check.detail


def test_a_run_that_stands_on_other_weights_than_its_parent_wrote_breaks_the_chain(runs: list[Path]) -> None:
    base = to_json(read_manifest(runs[2]).base)
    edit(runs[2], base={**base, "shards": dict.fromkeys(base["shards"], "0" * 64)})
    assert chain_check(runs[2]).status == "fail"


def test_a_chain_that_cannot_be_followed_to_its_end_does_not_pass(runs: list[Path], tmp_path: Path) -> None:
    base = to_json(read_manifest(runs[0]).base)
    edit(runs[0], base={**base, "path": str(tmp_path / "gone"), "path_from_run": None})
    lone = to_json(read_manifest(runs[1]).base)
    # Recorded anew, as if the first run had always said so.
    from srmu.runtime.files import file_sha256

    parent = {**lone["parent"], "manifest_sha256": file_sha256(runs[0] / "manifest.json")}
    edit(runs[1], base={**lone, "parent": parent})
    assert chain_check(runs[1]).status == "skipped"
    assert "gone" in chain_check(runs[1]).detail
    shutil.rmtree(runs[0])
    assert chain_check(runs[1]).status == "skipped"


@pytest.mark.parametrize("name", ["../first", "/first", "", None])
def test_a_parent_s_name_must_not_lead_elsewhere(name: str | None, runs: list[Path]) -> None:
    base = to_json(read_manifest(runs[1]).base)
    edit(runs[1], base={**base, "parent": {**base["parent"], "run": name}})
    # A manifest whose parent has no name at all is damaged, so that nothing is followed.
    assert chain_check(runs[1]).status == ("fail" if name is not None else "skipped")


def test_an_unreadable_parent_does_not_lose_the_run_on_top_of_it(base_dir: Path, tmp_path: Path) -> None:
    first = write_run(base_dir, tmp_path / "first")
    (first / "results.json").write_text("{")
    second = write_run(first / "model", tmp_path / "second")
    (request,) = read_manifest(second).base.chain
    assert (request.run, request.created, request.questions) == ("first", None, {})
