"""The protocol's requests on the real model: how much is asked, and that nothing is asked twice."""

from collections import Counter
from pathlib import Path

import pytest

from srmu.demo.requests import capitals_request


@pytest.fixture(scope="module")
def cases(benchmark_module):
    module = benchmark_module("protocol_cases")
    # Requests need no model.
    module.demo_model = lambda _: Path("nowhere")
    return module


@pytest.mark.slow
def test_what_must_go_is_asked_often_enough_and_no_question_twice(cases):
    number = Counter()
    for case in cases.real_cases("report"):
        asked = case.questions["forget"]
        assert len({(question.prompt, frozenset(question.choices)) for question in asked}) == len(asked)
        number[case.kind] += len(asked)
    assert min(number["entities"], number["domain"]) >= 400


@pytest.mark.slow
def test_more_draws_change_neither_the_first_one_nor_the_other_groups_nor_tuning(cases):
    africa = capitals_request(("Africa",))
    report = next(case for case in cases.real_cases("report") if case.name == "capitals of Africa")
    assert report.questions["forget"][: len(africa.questions["forget"])] == africa.questions["forget"]
    assert report.questions | {"forget": ()} == africa.questions | {"forget": ()}
    assert report.forget == africa.forget
    asia = next(case for case in cases.real_cases("tune") if case.name == "capitals of Asia")
    assert asia.questions == capitals_request(("Asia",)).validation_questions
