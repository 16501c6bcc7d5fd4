"""The benchmark of erasure requests: eleven different ones, each with texts and questions of its own."""

from erasure_requests import MOST_QUESTIONS, NUM_REQUESTS, groups

from srmu.demo.requests import capitals_request


def test_each_of_eleven_requests_names_other_countries_and_can_be_asked() -> None:
    asked = groups()
    names = [name for group in asked for name in group]
    assert len(asked) == NUM_REQUESTS == 11
    assert len(set(names)) == len(names) == 44
    for group in asked:
        request = capitals_request(group)
        assert len(request.forget) >= 6
        assert len(request.questions["forget"]) >= 8
    # What must stay is never what was asked to go.
    whole = capitals_request(names)
    subjects = {question.fact.partition(":")[2] for question in whole.questions["entangled"][:MOST_QUESTIONS]}
    assert subjects & set(names) == set()
    assert len(subjects) > 20
