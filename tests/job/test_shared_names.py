"""What looks as if facts were meant is said once, with the flag for it."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from main_job import SETTINGS
from srmu import unlearn
from srmu.config.settings import make_config
from srmu.inputs.general import general_paragraphs
from srmu.job.plan import make_plan
from srmu.job.shared_names import SharedNames, find_shared_names
from srmu.runtime.progress import Reporter

PLACES = ("Ruritania", "Genovia", "Syldavia", "Borduria")
CAPITALS = ("Strelsau", "Pyrus", "Klow", "Szohod")
FORGET = [f"The city of {city} leads {place}." for place, city in zip(PLACES, CAPITALS, strict=True)]
OTHER_FACTS = [f"We went by ship to {place} and back." for place in PLACES[:2]]


def test_names_on_both_sides_are_found_and_shipped_paragraphs_are_none_of_the_users(
    saved_family: Callable[..., Path],
) -> None:
    settings = {"model": str(saved_family("llama")), "forget": [f"text:{text}" for text in FORGET]}
    with_facts = make_plan(make_config({**settings, "retain": [f"text:{text}" for text in OTHER_FACTS]}))
    assert find_shared_names(with_facts) == SharedNames(8, ("Ruritania", "Genovia"))
    # A name within another word is no name.
    inside = make_plan(make_config({**settings, "retain": ["text:We went to Ruritanialand."]}))
    assert find_shared_names(inside) == SharedNames(8, ())
    seldom = Counter(re.findall(r"(?<=[a-z] )[A-Z][a-z]{4,}", "\n".join(general_paragraphs()))).most_common()[-1][0]
    settings["forget"] = [f"text:The city of Klow leads {seldom}."]
    shipped = make_plan(make_config({**settings, "retain": ["text:We went by ship.", "general"]}))
    assert find_shared_names(shipped) == SharedNames(2, ())


@pytest.mark.parametrize(("total", "shared", "many"), [(10, 2, True), (11, 2, False), (0, 0, False)])
def test_a_fifth_of_the_names_is_many(total: int, shared: int, many: bool) -> None:
    assert SharedNames(total, ("Ruritania",) * shared).are_many is many


def test_a_run_says_so_unless_the_kind_of_request_or_a_preset_was_named(
    saved_family: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    reporter = Reporter()
    monkeypatch.setattr(reporter, "note", said.append)
    hint = "2 of the 8 names in the forget texts are in the retain texts too (Ruritania, Genovia)."
    for number, settings in enumerate([{}, {"request": "facts"}, {"preset": "paper"}]):
        given = {**SETTINGS, "steps": 1, "eval": False, **settings}
        if settings:
            given["forget_tokens"] = "all"
        unlearn(
            saved_family("llama"), forget=FORGET, retain=OTHER_FACTS, out=str(tmp_path / f"run{number}"),
            reporter=reporter, **given,
        )  # fmt: skip
        hints = [line for line in said if "names in the forget texts" in line]
        assert hints == ([] if settings else [f"{hint} If only some facts about them must go, add --request facts."])
        said.clear()
