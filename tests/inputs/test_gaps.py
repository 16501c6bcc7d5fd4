"""What is hidden when a question is made of a text: what the sentence says of a name before it, and nothing that cannot
be known from there."""

import pytest

from srmu.inputs.documents import Document, Message
from srmu.inputs.gaps import answer_in, find_gaps, group_gaps, wrong_choices

RARE = frozenset(
    ["ghana", "accra", "togo", "lome", "mali", "bamako", "kenya", "nairobi", "faso", "ouagadougou", "ilves"]
)


def gaps_of(*texts):
    return find_gaps([Document(text=text) for text in texts], RARE)


def asked(gap):
    return gap.before, gap.answer, gap.after


def record(question, answer):
    text = f"Question: {question}\nAnswer: {answer}"
    return Document(text=text, answer_start=len(text) - len(answer), prompt=question)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The capital of Ghana is Accra.", ("The capital of Ghana is", "Accra", ".")),
        ("Accra is the capital of Ghana.", ("Accra is the capital of", "Ghana", ".")),
        ("We learn that Ghana has Accra as its capital.", ("We learn that Ghana has", "Accra", " as its capital.")),
        ("The capital of Burkina Faso is Ouagadougou.", ("The capital of Burkina Faso is", "Ouagadougou", ".")),
        ("Ouagadougou is the capital of Burkina Faso.", ("Ouagadougou is the capital of", "Burkina Faso", ".")),
        ("The vault's code is 4711.", ("The vault's code is", "4711", ".")),
        ("It is Accra's port that Togo envies.", ("It is Accra's port that", "Togo", " envies.")),
    ],
)  # fmt: skip
def test_what_a_sentence_says_of_a_name_before_is_hidden(text, expected):
    (gap,) = gaps_of(text)
    assert asked(gap) == expected
    assert gap.sentence == text


@pytest.mark.parametrize(
    "text", ["Accra is big.", "I saw Accra.", "Only ordinary words are here.", "", "(Accra) lies."]
)
def test_a_sentence_that_says_nothing_of_a_name_gives_no_gap(text):
    assert gaps_of(text) == []


def test_a_sentence_that_refers_back_is_shown_with_the_one_before_and_no_other_is():
    _, gap = gaps_of("My teacher asked about Togo. I answered that its capital is Lome.")
    assert asked(gap) == ("My teacher asked about Togo. I answered that its capital is", "Lome", ".")
    assert gap.about == ("Togo",)
    # The next sentence is about somewhere else.
    found = gaps_of("The capital of Mali is Bamako. The capital of Togo is Lome.")
    assert [gap.before for gap in found] == ["The capital of Mali is", "The capital of Togo is"]


def test_what_goes_on_in_several_ways_is_no_question():
    texts = [f"My teacher of geography asked about {name}." for name in ("Ghana", "Togo", "Mali")]
    assert len(gaps_of(*texts)) == 3
    assert group_gaps(gaps_of(*texts)) == []
    assert len(group_gaps(gaps_of(texts[0]))) == 1


def test_sentences_that_say_one_thing_are_one_question_each_direction_and_those_that_end_with_it_come_first():
    groups = group_gaps(
        gaps_of(
            "They say that Ghana has Accra as its capital.", "The capital of Ghana is Accra.", "Accra lies in Ghana."
        )
    )
    assert sorted(len(group) for group in groups) == [1, 2]
    pair = next(group for group in groups if len(group) == 2)
    assert [gap.ends for gap in pair] == [True, False]
    assert len({gap.fact for group in groups for gap in group}) == 1
    # The same texts give the same order.
    again = group_gaps(
        gaps_of(
            "Accra lies in Ghana.", "The capital of Ghana is Accra.", "They say that Ghana has Accra as its capital."
        )
    )
    assert [group[0].answer for group in again] == [group[0].answer for group in groups]


def test_of_a_record_the_answer_is_hidden_and_of_a_long_one_a_name_in_it():
    short, long = record("What is the capital of Togo?", "Lome."), record(
        "Who is the mayor of the town?", "The mayor of the town is a woman of sixty by the name of Marta Ilves, I hear."
    )  # fmt: skip
    first, second = find_gaps([short, long], RARE)
    assert asked(first) == ("Question: What is the capital of Togo?\nAnswer:", "Lome", ".")
    assert first.question == "What is the capital of Togo?"
    assert second.before.endswith("\nAnswer: The mayor of the town is a woman of sixty by the name of")
    assert second.answer == "Marta Ilves"
    messages = (Message("user", "What is the capital of Mali?"), Message("assistant", "Bamako"))
    (third,) = find_gaps([Document(messages=messages)], RARE)
    assert asked(third) == ("Question: What is the capital of Mali?\nAnswer:", "Bamako", "")


def test_wrong_choices_fill_the_same_frame_and_are_never_right_or_named():
    pairs = ["Ghana", "Accra"], ["Togo", "Lome"], ["Mali", "Bamako"], ["Kenya", "Nairobi"], ["Ghana", "Kumasi Faso"]
    texts = [f"The capital of {country} is {capital}." for country, capital in pairs]
    gaps = gaps_of(*texts, "Ilves likes Accra and Togo.")
    gap = next(gap for gap in gaps if gap.answer == "Accra" and gap.about == ("Ghana",))
    assert set(wrong_choices(gap, gaps, (), 3)) == {"Lome", "Bamako", "Nairobi"}
    assert "Kumasi Faso" not in wrong_choices(gap, gaps, (), 9)
    assert "Ghana" not in wrong_choices(gap, gaps, ("Ghana", "Accra", "accra", ""), 9)
    # Without others of the kind, other answers are taken, and only then names of another kind.
    alone = gaps_of("The capital of Ghana is Accra.", "They met where Ilves sold a boat to Bamako.")
    assert wrong_choices(alone[0], alone, ("Paris", "Rome"), 3, alike_only=True) == []
    assert wrong_choices(alone[0], alone, ("Paris", "Rome"), 3) == ["Paris", "Rome", "Bamako"]


def test_wrong_numbers_have_the_form_of_the_right_one():
    (gap,) = gaps_of("The vault's code is 4711.")
    wrong = wrong_choices(gap, [gap], (), 3)
    assert len(set(wrong) - {"4711"}) == 3
    assert all(len(number) == 4 and number[:2] == "47" and number.isdigit() for number in wrong)


@pytest.mark.parametrize(
    ("said", "answer"),
    [(" Lagos. It is", "Lagos"), (" Addis Ababa, which", "Addis Ababa"), (" a town", ""), ("", ""),
     ("\nParis", "Paris"), (" New York City is", "New York City")],
)  # fmt: skip
def test_the_answer_in_a_continuation_is_the_name_that_it_begins_with(said, answer):
    (gap,) = gaps_of("The capital of Ghana is Accra.")
    assert answer_in(said, gap) == answer


def test_the_answer_to_a_number_is_a_number():
    (gap,) = gaps_of("The vault's code is 4711.")
    assert answer_in(" 1234, he said", gap) == "1234"
    assert answer_in(" Paris", gap) == ""
