"""`SHA256SUMS` of a run: what is read of a run is what it lists, and what is added is listed."""

import hashlib
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from measured_runs import make_results, write_measured
from sealed import seal
from srmu.errors import InputError
from srmu.job.gate import gate
from srmu.results import digests
from srmu.results.compare import compare_runs
from srmu.results.digests import read_listed, read_sums, replace_listed, unlisted, write_sums
from srmu.results.records import Results, add_results, read_results
from srmu.results.report.page import write_report

ODD = ("plain", "ünï code", "back\\slash", "line\nbreak", "a\rb", "bytes\udcff", " space ", "#sharp", "*star", "a  b")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_measured(tmp_path / "run")


def gated(run: Path) -> None:
    gate(run, ["forget<=0.3"])


def compared(run: Path) -> None:
    compare_runs([run])


def reported(run: Path) -> None:
    write_report([run])


READERS = [gated, compared, reported]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("name", ["results.json", "manifest.json"])
@pytest.mark.parametrize("fault", ["edited", "missing", "unlisted", "no sums", "sums edited"])
def test_what_is_not_listed_is_not_believed(read: Callable[[Path], None], name: str, fault: str, run: Path) -> None:
    read(run)
    file, sums = run / name, run / "SHA256SUMS"
    if fault == "edited":
        file.write_text(file.read_text().replace("0.2", "0.1").replace("2026", "2025"))
    elif fault == "missing":
        file.unlink()
    elif fault == "unlisted":
        sums.write_text("".join(line for line in sums.read_text().splitlines(keepends=True) if name not in line))
    elif fault == "no sums":
        sums.unlink()
    else:
        sums.write_text(sums.read_text().replace("a", "b"))
    with pytest.raises(InputError, match=r"SHA256SUMS|no run directory"):
        read(run)


@pytest.mark.parametrize("name", ["metrics.jsonl", "importance.safetensors"])
def test_a_report_shows_no_curve_and_no_map_that_is_not_listed(name: str, run: Path) -> None:
    content = bytearray((run / name).read_bytes())
    content[-2] ^= 1
    (run / name).write_bytes(content)
    with pytest.raises(InputError, match="SHA256SUMS"):
        write_report([run])


def test_every_flipped_bit_of_the_list_itself_is_noticed(run: Path) -> None:
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()} - {"SHA256SUMS"}
    content = (run / "SHA256SUMS").read_bytes()
    places = random.Random(0).sample(range(8 * len(content)), 600)
    for place in places:
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        (run / "SHA256SUMS").write_bytes(changed)
        try:
            found = read_sums(run)
        except InputError:
            continue
        assert set(found) != names or any(
            hashlib.sha256((run / name).read_bytes()).hexdigest() != digest for name, digest in found.items()
        ), place


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../b", "./a", "a//b"])
def test_no_name_leads_out_of_the_run(name: str, run: Path) -> None:
    (run / "SHA256SUMS").write_text(f"{'0' * 64}  {name}\n")
    with pytest.raises(InputError, match="no plain name inside"):
        read_sums(run)


def test_names_of_every_kind_come_back_and_sha256sum_reads_them(tmp_path: Path) -> None:
    for name in ODD:
        (tmp_path / name).write_bytes(os.fsencode(name))
    written = {name: hashlib.sha256(os.fsencode(name)).hexdigest() for name in ODD}
    write_sums(tmp_path, written)
    assert read_sums(tmp_path) == written
    assert unlisted(tmp_path, written) == []
    if shutil.which("sha256sum") is not None:
        done = subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=tmp_path, capture_output=True)
        assert done.returncode == 0, done.stderr


def test_what_is_added_to_a_run_is_listed(run: Path) -> None:
    add_results(run, lambda results: results)
    write_report([run])
    assert {"results.json", "report.html"} <= set(read_sums(run))
    before = (run / "SHA256SUMS").read_text()
    assert seal(run) / "SHA256SUMS"
    assert sorted((run / "SHA256SUMS").read_text().splitlines()) == sorted(before.splitlines())


@pytest.mark.parametrize("killed_at", ["partial", "listed"])
def test_a_process_killed_while_it_adds_leaves_the_old_file_or_the_new_one(
    killed_at: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = read_results(run), Results()
    assert old != new

    class Killed(BaseException):
        pass

    def stop(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        # A killed process runs no handler, so its temporary file stays under a number that is nobody's.
        patch.setattr("os.getpid", lambda: 4_000_000)
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        if killed_at == "partial":
            patch.setattr(digests, "write_sums", stop)
        else:
            patch.setattr(os, "replace", once(stop))
        with pytest.raises(Killed):
            add_results(run, lambda _: new)
    assert read_results(run) == (old if killed_at == "partial" else new)
    gate_passes = read_listed(run, "results.json")
    assert gate_passes is not None
    add_results(run, lambda _: make_results())
    assert read_results(run) == make_results()


def once(stop: Callable[..., None]) -> Callable[..., None]:
    """Renames of the list are done, that of the file is not."""
    rename = os.replace

    def replace(source: Path, target: Path) -> None:
        if Path(target).name == "results.json":
            stop()
        rename(source, target)

    return replace


def test_a_file_far_too_large_is_not_read(run: Path) -> None:
    with (run / "results.json").open("wb") as file:
        file.truncate(10**9)
    with pytest.raises(InputError, match="1,000,000,000 bytes"):
        read_results(run)


def test_nothing_is_added_to_a_run_that_lists_nothing(run: Path) -> None:
    (run / "SHA256SUMS").unlink()
    with pytest.raises(InputError, match="has no SHA256SUMS"):
        replace_listed(run, "results.json", b"{}")
    assert not [path for path in run.iterdir() if "partial" in path.name]
