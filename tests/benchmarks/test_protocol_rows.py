"""The protocol's table: what it counts, on cells whose answers are known."""

import math

import pytest

FACTS = [f"capital:{number}" for number in range(100)]


@pytest.fixture(scope="module")
def rows(benchmark_module):
    return benchmark_module("protocol_rows")


def group(right, base=1.0):
    def bits(share):
        return [int(number < round(share * 100)) for number in range(100)]

    return {"facts": FACTS, "base": bits(base), "right": bits(right), "base_nll": [1.0] * 100, "nll": [1.5] * 100}


def cell(method, forget, kept, point=0, seed=0):
    return {
        "arena": "world", "kind": "domain", "case": "hazard", "retain": "both", "overlap": 0.286, "method": method,
        "point": point, "seed": seed, "settings": {}, "seconds": 2.0, "neighbours": ["near"], "text": None,
        "groups": {"forget": group(forget), "told": group(kept), "near": group(0.0)},
    }  # fmt: skip


def test_the_point_nearest_to_chance_counts_among_those_that_keep_enough(rows):
    cells = [cell("rmu", 0.25, 0.90, point=0), cell("rmu", 0.40, 0.98, point=1), cell("rmu", 0.60, 1.0, point=2)]
    (row,) = rows.make_rows(cells)
    assert row["forget_at_98"] == pytest.approx(0.40)
    assert row["ci_low"] < 0.40 < row["ci_high"]
    assert row["kept"] == pytest.approx(0.98)
    assert row["reached"]


def test_a_method_that_never_keeps_enough_gets_the_accuracy_of_the_base(rows):
    (row,) = rows.make_rows([cell("rmu", 0.25, 0.5)])
    assert row["forget_at_98"] == 1.0
    assert not row["reached"]


def test_a_rerun_is_compared_request_by_request_whether_or_not_enough_was_kept(rows):
    europe = cell("rmu", 0.60, 0.90) | {"case": "europe"}
    (row,) = published = rows.make_rows([cell("rmu", 0.30, 0.90) | {"arena": "real"}, europe | {"arena": "real"}])
    assert not row["reached"]
    assert row["requests"]["hazard"]["forget"] == pytest.approx(0.30)
    assert row["requests"]["hazard"]["ci_high"] < row["requests"]["europe"]["ci_low"]
    assert row["requests"]["europe"]["kept"] == pytest.approx(0.90)
    told = rows.against(rows.make_rows([cell("rmu", 0.32, 1.0)]), published)
    assert told.endswith("1 of 1 lie within the published intervals, and the intervals of 0 more overlap.")
    told = rows.against(rows.make_rows([cell("rmu", 0.60, 1.0), cell("npo", 0.30, 1.0)]), published)
    assert "rmu: 0.600, published 0.300 (0.2" in told
    assert "outside; its own interval (0.5" in told
    assert "does not overlap" in told
    assert "npo: 0.300, not published" in told
    assert told.endswith("0 of 1 lie within the published intervals, and the intervals of 0 more overlap.")
    below = rows.against(rows.make_rows([cell("rmu", 0.05, 1.0)]), published)
    assert below.endswith("and the intervals of 0 more overlap.")
    told = rows.against(rows.make_rows([cell("rmu", 0.42, 1.0)]), published)
    assert told.endswith("0 of 1 lie within the published intervals, and the intervals of 1 more overlap.")


def test_rows_of_a_run_take_the_place_of_the_same_published_ones(rows):
    published = rows.make_rows([cell("rmu", 0.30, 1.0), cell("npo", 0.50, 1.0)])
    new = rows.make_rows([cell("npo", 0.40, 1.0), cell("npo", 0.60, 1.0) | {"retain": "self"}])
    found = [(row["method"], row["retain"], row["forget_at_98"]) for row in rows.merged(new, published)]
    assert found == [("rmu", "both", 0.30), ("npo", "both", 0.40), ("npo", "self", 0.60)]


def test_below_chance_is_as_far_as_above_and_neighbours_do_not_count(rows):
    cells = [cell("rmu", 0.05, 1.0, point=0), cell("rmu", 0.35, 1.0, point=1)]
    (row,) = rows.make_rows(cells)
    assert row["forget_at_98"] == pytest.approx(0.35)


@pytest.mark.parametrize(("forget", "beats"), [(0.27, True), (0.55, False)])
def test_the_default_beats_the_published_where_the_paired_interval_excludes_zero(rows, forget, beats):
    cells = [
        cell(method, share, 1.0, seed=seed) for seed in (0, 1) for method, share in (("rmu", 0.55), ("default", forget))
    ]
    found = {row["method"]: row for row in rows.make_rows(cells)}
    assert found["default"]["default"]
    assert found["default"]["beats_published"] is beats
    assert "default" not in found["rmu"]
    assert found["default"]["seeds"] == 2
    # Each seed is a world of its own, with its own questions.
    assert found["default"]["questions"] == 200


def test_where_the_published_is_near_chance_what_is_kept_decides(rows):
    less, more = cell("rmu", 0.26, 0.98), cell("default", 0.30, 1.0)
    assert [row["beats_published"] for row in rows.make_rows([less, more]) if row["method"] == "default"] == [False]
    # Two facts in a hundred may be chance; twelve in six hundred are not.
    less["groups"] |= {f"told {number}": group(0.98) for number in range(5)}
    more["groups"] |= {f"told {number}": group(1.0) for number in range(5)}
    for found in (less, more):
        for name, part in found["groups"].items():
            part["facts"] = [f"{name} {fact}" for fact in FACTS]
    assert [row["beats_published"] for row in rows.make_rows([less, more]) if row["method"] == "default"] == [True]


def test_the_area_is_one_for_a_perfect_method_and_zero_for_one_that_changes_nothing(rows):
    assert rows.area([cell("rmu", 0.25, 1.0)]) == pytest.approx(1.0)
    assert rows.area([cell("rmu", 1.0, 1.0)]) == pytest.approx(0.0)
    assert rows.area([cell("rmu", 0.25, 0.8)]) == pytest.approx(0.8)


def test_the_area_by_losses_is_that_of_the_likelihoods_of_right_answers(rows):
    def with_losses(forget, told):
        made = cell("rmu", 0.25, 1.0)
        made["groups"]["forget"]["nll"], made["groups"]["told"]["nll"] = [forget] * 100, [told] * 100
        return [made]

    assert rows.area(with_losses(30.0, 1.0), loss=True) == pytest.approx(1.0)
    assert rows.area(with_losses(1.0, 1.0), loss=True) == pytest.approx(0.0)
    # Half of the likelihood is left, and nine tenths of what was to stay.
    assert rows.area(with_losses(1.0 + math.log(2), 1.0 - math.log(0.9)), loss=True) == pytest.approx(0.45)


def test_intervals_are_clustered_by_fact(rows):
    apart = {("case", fact): (float(number < 50), 1) for number, fact in enumerate(FACTS)}
    together = {("case", fact): (8.0 * (number < 50), 8) for number, fact in enumerate(FACTS)}
    spreads = [rows.resampled_means([found])[:, 0].std() for found in (apart, together)]
    assert spreads[0] == pytest.approx(spreads[1])
    assert spreads[0] == pytest.approx(0.05, rel=0.1)
