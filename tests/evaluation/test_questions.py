"""Scores of questions, the encoding rule of lm-evaluation-harness, accuracies and standard errors."""

import numpy as np
import pytest
import torch

from families import FAMILIES
from srmu.errors import InputError
from srmu.evaluation.encoding import encode_pairs
from srmu.evaluation.questions import QuestionScores, clustered_stderr, score_questions
from srmu.inputs.questions import Question
from tiny_tokenizers import TOKENIZERS, make_tokenizer

QUESTIONS = [
    Question(
        prompt="the capital of",
        choices=("red country", "blue", "river stone cloud"),
        answer=1,
        fact="capital:a",
    ),
    Question(prompt="a silver market in ", choices=("winter", "north west"), answer=0, fact="capital:a"),
    Question(prompt="", choices=("thunder valley", "island"), answer=1, fact="capital:b"),
]


def harness_log_likelihoods(model, tokenizer, question: Question) -> list[float]:
    """The harness's rule written out, one row a choice."""
    context = question.prompt
    spaces = len(context) - len(context.rstrip())
    values = []
    for choice in question.choices:
        continuation = context[len(context) - spaces :] + " " + choice
        stripped = context[: len(context) - spaces]
        if stripped:
            context_ids = tokenizer.encode(stripped)
            target = tokenizer.encode(stripped + continuation)[len(context_ids) :]
        else:
            context_ids, target = (
                [tokenizer.bos_token_id],
                tokenizer.encode(continuation, add_special_tokens=False),
            )
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([context_ids + target])).logits[0, len(context_ids) - 1 : -1]
        steps = logits.float().log_softmax(-1)[range(len(target)), target]
        values.append(float(steps.sum()))
    return values


@pytest.mark.parametrize("kind", sorted(TOKENIZERS))
@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_scores_follow_the_harness_on_every_item(name, kind):
    model, tokenizer = FAMILIES[name].build(), make_tokenizer(**TOKENIZERS[kind])
    scores = score_questions(model, tokenizer, QUESTIONS)
    for question, got, norm, raw in zip(
        QUESTIONS, scores.log_likelihoods, scores.correct_norm, scores.correct_raw, strict=True
    ):
        expected = harness_log_likelihoods(model, tokenizer, question)
        np.testing.assert_allclose(got, expected, rtol=1e-5)
        lengths = [len(choice) for choice in question.choices]
        assert raw == (np.argmax(expected) == question.answer)
        assert norm == (np.argmax(np.array(expected) / lengths) == question.answer)


def test_answer_nll_is_per_token_of_the_right_answer():
    model, tokenizer = FAMILIES["llama"].build(), make_tokenizer()
    scores = score_questions(model, tokenizer, [Question(prompt="a", choices=("red", "red river stone"), answer=1)])
    assert scores.nll == pytest.approx(-scores.log_likelihoods[0][1] / 3)


def test_chat_form_asks_inside_the_template_without_a_delimiter():
    model, tokenizer = FAMILIES["llama"].build(), make_tokenizer(chat=True)
    question = Question(prompt="the capital of", choices=("red", "blue"), answer=0)
    got = score_questions(model, tokenizer, [question], chat=True).log_likelihoods[0]
    context = tokenizer.apply_chat_template(
        [{"role": "user", "content": question.prompt}], tokenize=False, add_generation_prompt=True
    )
    context_ids = tokenizer.encode(context.rstrip(), add_special_tokens=False)
    assert context_ids.count(tokenizer.bos_token_id) == 1
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([context_ids])).logits[0, -1].log_softmax(-1)
    expected = [float(logits[tokenizer.convert_tokens_to_ids(choice)]) for choice in question.choices]
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_chat_form_without_a_template_is_refused():
    with pytest.raises(InputError, match="no chat template"):
        score_questions(FAMILIES["llama"].build(), make_tokenizer(), QUESTIONS, chat=True)


def test_trailing_space_of_the_prompt_goes_to_the_answer():
    tokenizer = make_tokenizer(algorithm="bytes", adds_bos=False)
    assert encode_pairs(tokenizer, "river ", ["stone"]) == encode_pairs(tokenizer, "river", [" stone"])


def test_any_of_several_right_answers_is_right():
    model, tokenizer = FAMILIES["llama"].build(), make_tokenizer()
    asked = Question(prompt="a", choices=("red", "blue", "green"), answer=0)
    best = int(np.argmax(score_questions(model, tokenizer, [asked]).log_likelihoods[0]))
    wrong = (best + 1) % 3
    alone = Question(prompt="a", choices=asked.choices, answer=wrong)
    both = Question(prompt="a", choices=asked.choices, answer=wrong, also_right=(best,))
    scores = score_questions(model, tokenizer, [alone, both])
    assert scores.correct_raw.tolist() == [False, True]
    assert scores.answer_nll[0] == scores.answer_nll[1]


def test_no_questions_are_refused():
    with pytest.raises(InputError, match="no questions"):
        score_questions(FAMILIES["llama"].build(), make_tokenizer(), [])


def test_stderr_is_the_sample_deviation_by_root_n():
    right = np.array([True, True, False, True])
    scores = QuestionScores(
        log_likelihoods=(),
        correct_norm=right,
        correct_raw=right,
        answer_nll=np.ones(4),
        facts=("a", "a", "b", ""),
    )
    assert scores.stderr == pytest.approx(right.std(ddof=1) / 2)
    # By hand: mean 0.75; clusters a 0.5, b -0.75, alone 0.25; sqrt(0.875 * 3 / 2) / 4.
    assert scores.stderr_by_fact == pytest.approx(np.sqrt(0.875 * 1.5) / 4)


def test_asking_every_fact_twice_leaves_the_clustered_stderr():
    values, keys = np.array([1.0, 0.0, 0.0, 1.0, 1.0]), tuple("abcde")
    once = clustered_stderr(values, keys)
    assert clustered_stderr(np.tile(values, 2), keys * 2) == pytest.approx(once)
    assert clustered_stderr(np.tile(values, 2), ("",) * 10) < 0.8 * once
