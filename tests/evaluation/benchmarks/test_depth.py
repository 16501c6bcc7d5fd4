"""The unlearning depth score: its formula in float64, patched passes against plain ones, and both ends of its scale."""

import json

import numpy as np
import pytest
import torch

from evaluation.benchmarks.conftest import SLICE, build
from main_job import call
from srmu.errors import InputError
from srmu.evaluation.benchmarks import depth
from srmu.evaluation.benchmarks.tofu_prompt import TofuPrompt, encode_answer
from srmu.evaluation.benchmarks.tofu_spans import answer_spans, read_entities
from srmu.job.benchmarks.depth import DepthOptions
from srmu.job.benchmarks.tofu import benchmark_tofu
from srmu.runtime.progress import Reporter

RNG = np.random.default_rng(11)
QUIET = {"title": "", "reporter": Reporter()}


def plain_score(full, gold, result):
    """One span, layer by layer, as the paper writes it (arXiv 2605.24614, section 3)."""
    total = weight = 0.0
    for one, two in zip(gold, result, strict=True):
        first, second = full - one, full - two
        if first > 0.05:
            total += first * min(1.0, max(0.0, second / first))
            weight += first
    return total / weight if weight else None


def test_the_score_is_the_weighted_share_of_what_the_retrained_model_takes_away():
    full, gold, result = RNG.normal(-1, 0.5, 20), RNG.normal(-2, 1, (6, 20)), RNG.normal(-2, 1, (6, 20))
    expected = [plain_score(full[n], gold[:, n], result[:, n]) for n in range(20)]
    assert depth.depth_scores(full, gold, result) == pytest.approx(expected)


def test_a_span_of_which_nothing_is_taken_away_does_not_count():
    full = np.array([-1.0, -1.0])
    gold = np.array([[-1.04, -3.0], [-0.5, -1.04]])
    scores = depth.depth_scores(full, gold, np.array([[-9.0, -2.0], [-9.0, -9.0]]))
    assert np.isnan(scores[0])
    assert scores[1] == pytest.approx(0.5)


def plain_patched(model, other, span, layer):
    """Mean log-probability with one layer's states replaced, by running the layers one after another in float64."""
    ids, place = torch.tensor([span.token_ids[:-1]]), slice(span.first - 1, span.last - 1)
    with torch.no_grad():
        states = other.model.embed_tokens(ids)
        hidden = model.model.embed_tokens(ids)
        positions = torch.arange(ids.shape[1])[None]
        angles = model.model.rotary_emb(hidden, positions)
        mask = torch.full((ids.shape[1],) * 2, -1e30, dtype=torch.float64).triu(1)[None, None]
        for number, (own, foreign) in enumerate(zip(model.model.layers, other.model.layers, strict=True)):
            arguments = {"attention_mask": mask, "position_ids": positions, "position_embeddings": angles}
            hidden, states = own(hidden, **arguments), foreign(states, **arguments)
            if number == layer:
                hidden[:, place] = states[:, place]
        rows = model.lm_head(model.model.norm(hidden))[0, place].log_softmax(-1)
    targets = span.token_ids[span.first : span.last]
    return float(np.mean([float(row[token]) for row, token in zip(rows, targets, strict=True)]))


def test_patched_passes_equal_those_of_one_text_layer_by_layer(tokenizer, data):
    model, other = build(0), build(1)
    spans = answer_spans(tokenizer, TofuPrompt(), data.sets["forget"][:3], None, longest=512)
    states = depth.span_states(other, spans, **QUIET)
    found = depth.span_log_probabilities(model, spans, states, **QUIET)
    own = depth.span_log_probabilities(model, spans, depth.span_states(model, spans, **QUIET), **QUIET)
    plain = depth.span_log_probabilities(model, spans, None, **QUIET)
    assert own == pytest.approx(np.repeat(plain, 2, axis=0), rel=1e-5)
    model, other = model.double(), other.double()
    expected = [[plain_patched(model, other, span, layer) for span in spans] for layer in range(2)]
    assert found == pytest.approx(np.array(expected), rel=1e-4)


def test_states_of_another_shape_are_refused(tokenizer, data):
    spans = answer_spans(tokenizer, TofuPrompt(), data.sets["forget"][:1], None, longest=512)
    states = [part[:1] for part in depth.span_states(build(), spans, **QUIET)]
    with pytest.raises(InputError, match="1 layers of 64 features cannot stand in a model of 2 layers"):
        depth.span_log_probabilities(build(), spans, states, **QUIET)


@pytest.fixture
def entities(tmp_path, data):
    """The last word but one of four answers, and an answer that does not hold its entity."""
    rows = []
    for entry in data.sets["forget"][:4]:
        words = entry.answer.rstrip(".").split(" ")
        rows.append({"question": entry.question, "prefix": " ".join(words[:-2]), "entity": words[-2]})
    rows[3]["entity"] = "not in the answer"
    path = tmp_path / "entities.json"
    path.write_text(json.dumps(rows))
    return path


def test_a_span_is_the_entity_in_its_answer_or_the_answer_without_its_end(tokenizer, data, entities):
    questions = data.sets["forget"]
    read = read_entities(str(entities), questions)
    spans = answer_spans(tokenizer, TofuPrompt(), questions, read, longest=512)
    words = [tokenizer.decode(span.token_ids[span.first : span.last]).strip() for span in spans]
    assert words == [read[entry.question][1] for entry in questions[:3]]
    whole = answer_spans(tokenizer, TofuPrompt(), questions[:1], None, longest=512)[0]
    asked, answer = encode_answer(tokenizer, TofuPrompt(), questions[0].question, questions[0].answer)
    assert whole.token_ids[whole.first : whole.last] == tuple(answer[:-1])
    assert whole.first == len(asked)
    with pytest.raises(InputError, match="the model has 10 positions"):
        answer_spans(tokenizer, TofuPrompt(), questions[:1], None, longest=10)


def test_bad_annotations_are_named(tmp_path, data):
    path = tmp_path / "entities.jsonl"
    path.write_text('{"question": "Who?", "prefix": "", "entity": ""}\n')
    with pytest.raises(InputError, match="line 1: 'entity' is ''"):
        read_entities(str(path), data.sets["forget"])
    path.write_text('{"question": "Who?", "prefix": "", "entity": "Ito"}\n')
    with pytest.raises(InputError, match="none of 1 annotated questions is among the 8 forgotten ones"):
        read_entities(str(path), data.sets["forget"])


def measure(checkpoints, name, **options):
    found = benchmark_tofu(
        str(checkpoints[name]), split="forget01", data=SLICE, gold=str(checkpoints["retrained"]), max_new_tokens=2,
        depth=DepthOptions(base=str(checkpoints["full"]), **options),
    )  # fmt: skip
    return found.depth


@pytest.mark.slow
def test_the_base_has_depth_0_and_the_retrained_model_1(checkpoints, entities):
    base, gold = measure(checkpoints, "full"), measure(checkpoints, "retrained", entities=str(entities))
    assert (base.score, base.of, base.entities) == (pytest.approx(0, abs=1e-4), 8, False)
    assert base.counted > 4
    assert (gold.score, gold.of, gold.entities) == (pytest.approx(1), 3, True)


def test_the_command_shows_the_depth_and_says_what_it_needs(checkpoints, capsys, tmp_path):
    words = ("benchmark", "tofu", str(checkpoints["full"]), "--data", str(SLICE), "--split", "forget01")
    gold = ("--gold", str(checkpoints["retrained"]))
    for flags, message in (
        (("--depth",), "Give --gold the model itself"),
        (("--depth", *gold), "Give it with --base"),
        (("--base", "x"), "belong to the unlearning depth score"),
    ):
        code, out, err = call(capsys, *words, *flags)
        assert (code, out) == (2, "")
        assert message in " ".join(err.split())
    code, out, err = call(
        capsys, *words, *gold, "--depth", "--base", str(checkpoints["full"]), "--max-new-tokens", "2", "--limit", "2"
    )
    assert code == 0, err
    assert "published ones are at entities, 2 of 2 answers" in " ".join(out.split())
