"""Questions made of texts: what the base knows is found, what it does not is not, and each says that it is made."""

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from families import save_family
from srmu.evaluation import made_questions
from srmu.evaluation.made_questions import make_questions, written_question
from srmu.evaluation.questions import score_questions
from srmu.evaluation.results import question_group
from srmu.inputs.documents import Document
from srmu.inputs.gaps import find_gaps
from srmu.inputs.questions import question_line, read_questions
from srmu.runtime.progress import Reporter

COUNTRIES = ("Ghana", "Togo", "Mali", "Kenya", "Chad", "Gabon", "Libya", "Sudan", "Egypt", "Niger", "Benin", "Malawi")
CAPITALS = tuple(f"City{letter}" for letter in "ABCDEFGHIJKL")
TEXTS = [f"The capital of {one} is {other}." for one, other in zip(COUNTRIES, CAPITALS, strict=True)]
KNOWN = 9


def make_names_tokenizer():
    ordinary = ["The", "capital", "of", "is", ".", "what", "?", "Question", ":", "Answer", "Fill", "in", "the", "blank"]
    words = ["<pad>", "<s>", "</s>", "<unk>", "____", *ordinary, *COUNTRIES, *CAPITALS]
    core = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A tiny model that knows nine of twelve capitals in both forms, and of three the next country's."""
    tokenizer = make_names_tokenizer()
    model = AutoModelForCausalLM.from_pretrained(save_family("llama", tmp_path_factory.mktemp("llama")))
    told = [*CAPITALS[:KNOWN], *CAPITALS[KNOWN + 1 :], CAPITALS[KNOWN]]
    lines = [
        form.format(one, other)
        for one, other in zip(COUNTRIES, told, strict=True)
        for form in ("The capital of {} is {} .", "Question: The capital of {} is what?\nAnswer: {}",
                     "Fill in the blank. The capital of {} is ____.\nAnswer: {}")
    ]  # fmt: skip
    batch = tokenizer(lines, return_tensors="pt", padding=True)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    torch.manual_seed(0)
    for _ in range(100):
        optimizer.zero_grad()
        model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss.backward()
        optimizer.step()
    return model.eval(), tokenizer


@pytest.fixture(autouse=True)
def few_ordinary_texts(monkeypatch):
    monkeypatch.setattr(made_questions, "general_paragraphs", lambda: ("The capital is what is in the blank.",))


def make(learned, texts=TEXTS, **options):
    model, tokenizer = learned
    return make_questions(model, tokenizer, [Document(text=text) for text in texts], reporter=Reporter(), **options)


def test_what_the_base_knows_is_found_and_what_it_does_not_is_not(learned):
    made = make(learned)
    answers = {item.questions[0].choices[item.questions[0].answer] for item in made.known}
    assert (made.found, len(made.items), made.without_choices) == (12, 12, 0)
    assert answers == set(CAPITALS[:KNOWN])
    assert made.beyond_chance


def test_a_model_that_never_saw_the_texts_knows_no_more_than_guessing(learned, saved_family):
    stranger = AutoModelForCausalLM.from_pretrained(saved_family("llama")).eval()
    made = make((stranger, learned[1]))
    assert len(made.items) == 12
    assert not made.beyond_chance


def test_each_fact_is_asked_in_two_forms_with_the_same_four_choices(learned):
    for item in make(learned).items:
        cloze, second = item.questions
        assert item.forms[0] == "cloze"
        assert cloze.prompt != second.prompt
        assert cloze.fact == second.fact
        assert set(cloze.choices) == set(second.choices)
        assert len(cloze.choices) == 4
        assert cloze.choices[cloze.answer] == second.choices[second.answer] not in cloze.prompt + second.prompt
        assert cloze.choices[cloze.answer] in CAPITALS


def test_the_same_texts_and_seed_give_the_same_questions_and_a_limit_the_first_of_them(learned):
    assert make(learned) == make(learned)
    few = make(learned, limit=5)
    assert few.items == make(learned).items[:5]
    assert few.found == 12


def test_texts_that_name_nothing_give_nothing(learned):
    made = make(learned, ["the blank is in the capital ."])
    assert (made.items, made.found, made.beyond_chance) == ((), 0, False)


def test_a_fact_without_three_wrong_answers_is_left_out_and_counted(learned, monkeypatch):
    monkeypatch.setattr(made_questions, "answer_in", lambda said, gap: "")
    made = make(learned, TEXTS[:3])
    assert (made.items, made.found, made.without_choices) == ((), 3, 3)
    # The base's own alternatives fill up.
    others = iter(["Rome", "Paris", "Rome", *["Lima"] * 100])
    monkeypatch.setattr(made_questions, "answer_in", lambda said, gap: next(others))
    made = make(learned, TEXTS[:1])
    assert set(made.items[0].questions[0].choices) == {"CityA", "Rome", "Paris", "Lima"}


def test_questions_say_in_files_and_results_that_they_were_made(learned, tmp_path):
    asked = [question for item in make(learned).known for question in item.questions]
    file = tmp_path / "q.jsonl"
    file.write_text("".join(map(question_line, asked)))
    read = read_questions(file)
    assert read == asked
    assert all(question.machine_made for question in read)
    scores = score_questions(*learned, read)
    group = question_group(scores, scores)
    assert group.machine_made == len(asked)
    assert group.label("forget") == "forget (machine-made)"
    by_hand = tmp_path / "own.jsonl"
    by_hand.write_text(file.read_text().replace(', "machine_made": true', "", 1))
    mixed = score_questions(*learned, read_questions(by_hand))
    assert question_group(mixed, mixed).label("forget") == f"forget ({len(asked) - 1} of {len(asked)} machine-made)"
    own = score_questions(*learned, read_questions(by_hand)[:1])
    assert question_group(None, own).label("forget") == "forget"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (" What is the capital of Ghana?\n\nText:", "What is the capital of Ghana?"),
        (" What is Ghana's capital? It is", "What is Ghana's capital?"),
        (" Which king rules Ghana?", ""),  # says what the sentence does not
        (" What is Ghana?", ""),  # says nothing of it
        (" What is the capital?", ""),  # names nothing
        (" Is CityA the capital of Ghana?", ""),  # gives the answer away
        (" The capital of Ghana", ""),
        ("", ""),
    ],
)
def test_a_written_question_names_what_the_sentence_names_and_says_nothing_else(said, expected):
    (gap,) = find_gaps([Document(text="The capital of Ghana is CityA.")], frozenset(["ghana", "citya"]))
    assert written_question(said, gap) == expected
