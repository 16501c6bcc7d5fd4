"""Records as JSON and back: nothing is lost, and what is wrong is named by its place."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pytest

from measured_runs import add_evaluated, make_manifest, make_results
from sealed import seal
from srmu.errors import InputError
from srmu.results.attack_records import AttackRecord
from srmu.results.groups import Change
from srmu.results.manifest import Manifest
from srmu.results.records import Results, read_results, write_results
from srmu.results.schema import Mismatch, from_json, json_schema, load, to_json
from srmu.results.schemas import SCHEMAS, write_schemas
from srmu.results.significance import is_significant
from srmu.results.study import Outcome, StudyRecord, StudyTrial, read_study, write_study


@dataclass(frozen=True)
class Inner:
    """An inner record."""

    number: float | None


@dataclass(frozen=True)
class Outer:
    """An outer record."""

    kind: Literal["a", "b"]
    inner: tuple[Inner, ...]
    counts: dict[str, int]
    anything: object = None
    setting: int | float | str = 0
    left_out: Inner | None = None
    pair: tuple[int, str] = field(default=(1, "x"))


OUTER = Outer("a", (Inner(1.5), Inner(None)), {"x": 3}, {"free": [1, "form"]}, 0.25)


def test_a_record_comes_back_from_its_json_as_it_was() -> None:
    for record in (OUTER, replace(OUTER, left_out=Inner(2.0), setting="text"), replace(OUTER, setting=7)):
        assert from_json(Outer, json.loads(json.dumps(to_json(record)))) == record
    for record in (add_evaluated(make_results()), Results(attacks={"probe": AttackRecord(status="skipped")})):
        assert from_json(Results, json.loads(json.dumps(to_json(record)))) == record
    manifest = from_json(Manifest, make_manifest())
    assert from_json(Manifest, to_json(manifest)) == manifest


def test_a_number_that_json_lacks_becomes_null_and_a_default_of_none_is_left_out() -> None:
    assert to_json(Inner(float("nan"))) == {"number": None}
    assert "left_out" not in to_json(OUTER)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "c"}, "'kind' is \"c\", expected one of a, b"),
        ({"inner": [{"number": "1"}]}, r"inner\[0\]\.number"),
        ({"inner": [{}]}, r"inner\[0\]\.number' is missing"),
        ({"inner": {}}, "expected a list"),
        ({"counts": {"x": 1.5}}, r"counts\.x"),
        ({"counts": {"x": True}}, "expected a whole number"),
        ({"pair": [1]}, "expected 2 values"),
        ({"surprise": 1}, "'surprise' is unknown"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(change: dict, message: str) -> None:
    with pytest.raises(Mismatch, match=message):
        from_json(Outer, {**to_json(OUTER), **change})


def test_files_of_another_format_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    write_results(tmp_path, make_results())
    assert read_results(seal(tmp_path)) == make_results()
    file = tmp_path / "results.json"
    for content, message in (
        ('{"questions": {}}', "has format None, and this srmu reads 2"), ("[]", "has format 'list'"),
        ("{", "cannot be read"), ('{"format": 2, "texts": 3}', "'texts' is 3, expected an object"),
    ):  # fmt: skip
        file.write_text(content)
        with pytest.raises(InputError, match=message):
            load(Results, file, version=2)
    file.unlink()
    assert read_results(seal(tmp_path)) == Results()


def test_a_study_comes_back_from_its_file(tmp_path: Path) -> None:
    good = StudyTrial(
        number=0, state="complete", settings={"layer": 7}, outcome=Outcome(0.1, 0.9, 0.2, {"forget": 0.1})
    )
    bad = StudyTrial(number=1, state="diverged", settings={"retain_weight": 3.5, "importance_map": "ratio"})
    record = StudyRecord(study="srmu", space={"layer": "2 to 9"}, front=(0,), chosen=0, trials=(good, bad))
    write_study(tmp_path, record)
    assert read_study(tmp_path) == record
    assert record.complete == [good]


def test_every_published_schema_names_its_parts_and_describes_them(tmp_path: Path) -> None:
    files = write_schemas(tmp_path / "schema")
    assert len(files) == len(SCHEMAS)
    for file in files:
        schema = json.loads(file.read_text())
        assert schema["$ref"].removeprefix("#/$defs/") in schema["$defs"]
        assert all(definition["description"] for definition in schema["$defs"].values())
    question = json_schema(Results)["$defs"]["QuestionGroup"]
    assert question["required"] == ["result"]


@pytest.mark.parametrize(
    ("difference", "stderr", "significant"),
    [
        (-0.2, 0.1, True),
        (0.2, 0.1, True),
        (0.19, 0.1, False),
        (0.0, 0.0, False),
        (0.5, None, False),
        (None, 0.1, False),
    ],
)
def test_a_difference_is_significant_beyond_1_96_of_its_standard_errors(
    difference: float | None, stderr: float | None, significant: bool
) -> None:
    assert is_significant(Change(0.5, None, difference, stderr)) is significant
