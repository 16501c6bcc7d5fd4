"""benchmarks/selective: what its requests tell and ask, and how its rows are made."""

from typing import Any

import pytest
from selective.relations import RELATIONS, facts_of, statements_of
from selective.requests import REPORT, TUNE, Target, make_request
from selective.rows import make_rows

EVERYTHING = frozenset(fact.key for name in RELATIONS for fact in facts_of(name))


@pytest.mark.parametrize("target", [*TUNE, *REPORT], ids=lambda target: target.name)
def test_no_retain_text_tells_what_is_to_be_forgotten_and_half_of_what_must_stay_is_told(target: Target) -> None:
    request = make_request(target, EVERYTHING)
    told = "\n".join(request.retain)
    asked = {name: {question.fact for question in group} for name, group in request.questions.items()}
    facts = {fact.key: fact for name in RELATIONS for fact in facts_of(name)}
    for key in asked["forget"]:
        assert not any(statement in told for statement in statements_of(facts[key]))
    groups = {"domain": ["neighbours" if "neighbours" in asked else "other"], "entities": ["entangled"]}
    for name in groups.get(target.kind, ["entangled", "neighbours"]):
        share = sum(statements_of(facts[key])[0] in told for key in asked[name]) / len(asked[name])
        assert 0.25 < share < 0.75, name


def test_a_request_is_the_same_again_and_only_what_is_known_is_asked() -> None:
    known = frozenset(key for key in EVERYTHING if "a" in key)
    first, again = (make_request(REPORT[4], known, seed=1) for _ in range(2))
    assert first == again != make_request(REPORT[4], known, seed=2)
    assert all(question.fact in known for group in first.questions.values() for question in group)
    short = make_request(REPORT[4], known, seed=1, documents="short")
    assert sorted(" ".join(short.forget).split()) == sorted(" ".join(first.forget).split())
    assert len(short.forget) > 3 * len(first.forget)


def cell(method: str, forgotten: list[int], kept: list[int]) -> dict[str, Any]:
    def group(right: list[int]) -> dict[str, Any]:
        return {"facts": [str(place) for place in range(len(right))], "base": [1] * len(right), "right": right}

    return {
        "model": "m", "kind": "facts", "request": "r", "retain": "given", "documents": "long", "method": method,
        "seed": 0, "phase": "report", "groups": {"forget": group(forgotten), "other": group(kept)},
        "audit": {"bank": {"base": 0.9, "result": 0.8, "stderr": 0.01}}, "fluency": {"base": 0.8, "result": 0.4},
        "seconds": 2.0,
    }  # fmt: skip


def test_rows_pool_questions_and_say_whether_the_default_is_ahead() -> None:
    quarter, all_of_them = [1, 0, 0, 0] * 25, [1] * 100
    rows = {row["method"]: row for row in make_rows([
        cell("default", quarter, all_of_them), cell("rmu", all_of_them, all_of_them)
    ])}  # fmt: skip
    groups = rows["default"]["groups"]
    assert (groups["forget"]["base"], groups["forget"]["result"]) == (1.0, 0.25)
    assert groups["forget"]["ci_low"] < 0.25 < groups["forget"]["ci_high"]
    assert groups["neighbours"] is None
    assert (rows["default"]["beats_published"], rows["default"]["default"]) == (True, True)
    assert "default" not in rows["rmu"]
    worse = [cell("default", all_of_them, quarter), cell("rmu", quarter, all_of_them)]
    assert next(row for row in make_rows(worse) if row["method"] == "default")["beats_published"] is False
    mixed = [cell("default", quarter, quarter), cell("rmu", all_of_them, all_of_them)]
    assert next(row for row in make_rows(mixed) if row["method"] == "default")["beats_published"] is False
    alone = make_rows([cell("default", quarter, all_of_them)])
    assert alone[0]["beats_published"] is None


def test_fluency_is_that_of_the_cells_that_have_it() -> None:
    measured = cell("default", [1], [1])
    [row] = make_rows([measured, {**measured, "seed": 1, "fluency": None}])
    assert row["fluency"] == {"base": 0.8, "result": 0.4}
    [row] = make_rows([{**measured, "fluency": None}])
    assert row["fluency"] is None
