"""Texts that a base wrote: what repeats itself, was said before or is unlikely to the base is not used."""

from collections import Counter

from srmu.inputs.judged_texts import (
    DUPLICATE,
    EMPTY,
    REPEATED,
    UNLIKELY,
    Judgement,
    WrittenText,
    distinct_share,
    keep_sensible,
)


def written(text: str, nats: float, added_ids=(1, 2, 3, 4)) -> WrittenText:
    return WrittenText("" if added_ids else text, text if added_ids else " ", tuple(added_ids), nats)


def test_the_likelier_half_of_what_is_new_and_no_repetition_is_kept_in_its_order():
    dropped: Counter[str] = Counter()
    kept = keep_sensible(
        [
            written("The capital of Chile is Santiago", 1.0),
            written("The capital of Kaput and Snorkel", 6.0),
            written("the capital of Chile is  Santiago.", 0.5),
            written("The capital is is is is", 0.1, [7, 7, 7, 7, 7]),
            written("The capital of", 0.0, []),
            written("The capital of Peru is Lima", 2.0),
        ],
        dropped,
    )
    assert kept == ["The capital of Chile is Santiago", "The capital of Peru is Lima"]
    assert dropped == {UNLIKELY: 1, DUPLICATE: 1, REPEATED: 1, EMPTY: 1}


def test_of_nothing_nothing_is_kept_and_of_equals_all():
    assert keep_sensible([], Counter()) == []
    equals = [written(f"text {word}", 1.0) for word in ("red", "blue", "old")]
    assert len(keep_sensible(equals, Counter())) == 3


def test_repeated_pairs_count_once():
    assert distinct_share([1, 2, 3, 4]) == 1.0
    assert distinct_share([1, 2, 1, 2, 1]) == 2 / 4
    assert distinct_share([7]) == 1.0


def test_a_judgement_says_how_many_were_made_kept_and_dropped_and_why():
    said = Judgement(10, 7, {UNLIKELY: 3, EMPTY: 0}).describe()
    assert said == "The base model wrote 10 texts, 7 are used; dropped: 3 unlikely to the model itself."
    assert Judgement(2, 2, {}).describe() == "The base model wrote 2 texts, 2 are used."
