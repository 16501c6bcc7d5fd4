import pytest
from hypothesis import given
from hypothesis import strategies as st

from srmu.errors import InputError
from srmu.inputs.overlap import overlap, same_documents, word_list

words = st.lists(
    st.sampled_from(["river", "stone", "cloud", "the", "of", "a", "Paris", "is", "été", "12"]),
    min_size=1,
    max_size=12,
)
texts = st.lists(words.map(" ".join), min_size=1, max_size=4)


def shares(counted):
    for group in (counted.words, counted.content_words):
        for shared in group.values():
            yield from (shared.jaccard, shared.containment, shared.token_containment)


@given(forget=texts, retain=texts)
def test_jaccard_is_symmetric_and_all_shares_lie_between_0_and_1(forget, retain):
    there, back = overlap(forget, retain), overlap(retain, forget)
    assert all(0 <= share <= 1 for share in shares(there))
    for n in (1, 2, 3):
        assert there.words[n].jaccard == back.words[n].jaccard
        assert there.words[n].jaccard <= there.words[n].containment
        assert there.content_words[n].jaccard == back.content_words[n].jaccard


@given(same=texts)
def test_identical_texts_overlap_wholly(same):
    counted = overlap(same, [text.upper() for text in reversed(same)])
    assert counted.jaccard == counted.containment == counted.token_containment == 1
    for group in (counted.words, counted.content_words):
        assert all(shared.jaccard == 1 for shared in group.values() if shared.num_forget)


@given(forget=texts)
def test_texts_without_a_common_word_do_not_overlap(forget):
    assert set(shares(overlap(forget, ["zebra yak wombat viper"]))) == {0}


def test_the_counts_are_those_made_by_hand():
    counted = overlap(["The river runs. The river sings."], ["the river is old", "a stone runs"])
    assert (counted.num_forget_types, counted.num_retain_types) == (4, 7)
    assert counted.jaccard == 3 / 8
    assert counted.containment == 3 / 4
    assert counted.token_containment == 5 / 6  # all running words but "sings"
    pairs = counted.words[2]  # "the river" twice, "river runs", "runs the", "river sings"
    assert (pairs.num_forget, pairs.num_retain) == (4, 5)
    assert pairs.jaccard == 1 / 8
    assert pairs.token_containment == 2 / 5
    assert counted.words[3].jaccard == 0
    assert counted.content_words[1].jaccard == 2 / 5  # of river, runs, sings, old, stone


def test_word_sequences_end_with_their_text():
    assert overlap(["red", "blue"], ["red blue"]).words[2].num_forget == 0


def test_stop_words_alone_share_no_content():
    counted = overlap(["the of"], ["the of"])
    assert counted.jaccard == 1
    assert counted.content_words[1].jaccard == 0


def test_words_are_found_in_any_script_and_spelling():
    assert word_list("Don\N{RIGHT SINGLE QUOTATION MARK}t, don't: 'E\u0301te\u0301'!") == [
        "don't",
        "don't",
        "été",
    ]
    assert word_list("हिन्दी भाषा। нет") == ["हिन्दी", "भाषा", "нет"]


@pytest.mark.parametrize(("forget", "retain", "role"), [(["..."], ["one"], "forget"), (["one"], [], "retain")])
def test_texts_without_words_are_refused(forget, retain, role):
    with pytest.raises(InputError, match=f"{role} texts hold none"):
        overlap(forget, retain)


def test_documents_on_both_sides_are_found_whatever_their_case_and_spacing():
    forget = ["The river\nruns.", "The stone rests.", "STRASSE"]
    assert same_documents(forget, ["  the RIVER runs. ", "The stone", "straße"]) == (0, 2)
    assert same_documents(forget, []) == ()
