"""Merging, pruning and soft prompts: what they do to weights and inputs, what they bring back, and what they do not."""

import dataclasses

import pytest
import torch

from evaluation.attacks.conftest import PASSWORD, SUBJECTS
from srmu.evaluation.attacks.cells import Cells, CellsFile
from srmu.evaluation.attacks.interpolate import SHARES, changed_parameters, interpolate, merge_
from srmu.evaluation.attacks.prune import prune, prune_
from srmu.evaluation.attacks.soft_prompt import (
    NUM_VECTORS,
    answer_loss,
    ask_behind,
    behind_vectors,
    given_rows,
    soft_prompt,
    soft_prompted,
)
from srmu.evaluation.encoding import encode

MATRIX = "model.layers.1.mlp.down_proj.weight"


def cells():
    return Cells(CellsFile(None), "x")


def test_merging_is_the_mean_of_changed_parameters_and_leaves_all_others(make_setting, knowing):
    setting = make_setting(knowing, knowing)
    base, model = setting.subjects["base"].model(), setting.subjects["result"].fresh()
    with torch.no_grad():
        model.get_parameter(MATRIX).add_(1.0)
    changed = changed_parameters(base, model)
    assert set(changed) == {MATRIX}
    for share in (0.25, 0.5):
        merge_(model, changed, share)
        torch.testing.assert_close(model.get_parameter(MATRIX), base.get_parameter(MATRIX) + 1 - share)
    merge_(model, changed, 1.0)
    assert all(torch.equal(p, base.get_parameter(name)) for name, p in model.named_parameters())


def test_merging_brings_back_what_is_hidden_and_the_share_is_recorded(make_setting, knowing, locked):
    record = interpolate(make_setting(knowing, locked), cells())
    assert record.forget_before < 0.6
    assert record.forget_after > 0.85
    assert [point.at for point in record.sweep] == list(SHARES)
    found = [point.forget for point in record.sweep]
    assert record.worst.at == SHARES[found.index(max(found))]
    assert all(point.base == 1.0 and point.counts for point in record.sweep)
    assert record.kept["kept"].base_after == 1.0


def test_pruning_sets_the_smallest_entries_of_each_matrix_of_the_layers_to_zero(make_setting, knowing):
    model = make_setting(knowing, knowing).subjects["base"].fresh()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    prune_(model, 0.3)
    for name, parameter in model.named_parameters():
        old, gone = before[name], parameter == 0
        if ".layers." in name and parameter.dim() == 2:
            assert float(gone.float().mean()) == pytest.approx(0.3, abs=1e-3)
            assert old[gone].abs().max() <= old[~gone].abs().min()
            assert torch.equal(parameter[~gone], old[~gone])
        else:
            assert torch.equal(parameter, old), name


def test_pruning_undoes_a_change_that_lies_in_the_smallest_weights(make_setting, knowing):
    setting = make_setting(knowing, knowing)
    plain, hiding = setting.subjects["base"].fresh(), setting.subjects["base"].fresh()
    prune_(plain, 0.3)
    with torch.no_grad():
        for name, parameter in hiding.model.layers.named_parameters():
            weights = plain.model.layers.get_parameter(name)
            if parameter.dim() == 2:
                parameter.copy_(torch.where(weights == 0, weights[weights != 0].abs().min() / 2, weights))
    assert not torch.equal(hiding.get_parameter(MATRIX), plain.get_parameter(MATRIX))
    prune_(hiding, 0.3)
    assert all(torch.equal(p, plain.get_parameter(name)) for name, p in hiding.named_parameters())


def test_pruning_counts_only_where_the_base_survives_it(make_setting, knowing, twin, monkeypatch):
    record = prune(make_setting(knowing, twin), cells())
    assert (record.status, record.sweep_over) == ("result", "share of weights set to zero")
    assert record.base_after > 0.8
    monkeypatch.setattr("srmu.evaluation.attacks.prune.SHARES", (0.97,))
    record = prune(make_setting(knowing, twin), cells())
    assert (record.status, record.counts, record.recovery) == ("not applicable", False, None)


def test_vectors_that_are_tokens_answer_as_these_tokens_do(make_setting, knowing):
    setting = make_setting(knowing, knowing)
    model, tokenizer = setting.subjects["base"].model(), setting.tokenizer
    words = " ".join([*PASSWORD.split(), *SUBJECTS["kept"][: NUM_VECTORS - 2]])
    token_ids = encode(tokenizer, words)[-NUM_VECTORS:]
    spoken = [dataclasses.replace(q, prompt=f"{words} {q.prompt}") for q in setting.tested]
    expected = setting.ask(model, spoken).log_likelihoods
    embedding = model.get_input_embeddings()
    with soft_prompted(model, embedding(torch.tensor(token_ids)).detach()) as first_id:
        found = ask_behind(tokenizer, first_id, model, setting.tested).log_likelihoods
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), atol=1e-4, rtol=1e-4)
    assert model.get_input_embeddings() is embedding


def test_vectors_stand_after_the_start_token(make_setting, knowing):
    tokenizer = make_setting(knowing, knowing).tokenizer
    assert behind_vectors(tokenizer, [tokenizer.bos_token_id, 7], 50) == [1, *range(50, 50 + NUM_VECTORS), 7]
    assert behind_vectors(tokenizer, [7], 50) == [*range(50, 50 + NUM_VECTORS), 7]


def test_the_loss_is_that_of_the_answers_alone_and_its_gradient_reaches_the_vectors_alone(make_setting, knowing):
    setting = make_setting(knowing, knowing)
    model = setting.subjects["base"].fresh("float32").requires_grad_(False)
    vectors = torch.nn.Parameter(torch.randn(NUM_VECTORS, 64, generator=torch.Generator().manual_seed(0)))
    with soft_prompted(model, vectors) as first_id:
        rows = given_rows(setting.tokenizer, setting.given[:3], first_id)
        rows[1] = (rows[1][0], rows[1][1] * 2)
        answers = [answer_loss(model, [row]).item() * len(row[1]) for row in rows]
        loss = answer_loss(model, rows)
        loss.backward()
    assert loss.item() == pytest.approx(sum(answers) / 4, rel=1e-5)
    assert vectors.grad.abs().min() > 0
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_soft_prompt_finds_a_password_that_was_not_told(make_setting, knowing, locked):
    setting = make_setting(knowing, locked)
    record = soft_prompt(setting, cells())
    assert record.forget_before < 0.6
    assert (record.forget_after, record.base_after) == (1.0, 1.0)
    assert [point.at for point in record.sweep] == list(setting.budget.prompt_steps)


def test_a_soft_prompt_finds_nothing_where_nothing_is(make_setting, knowing, twin):
    record = soft_prompt(make_setting(knowing, twin), cells())
    assert record.base_after > 0.8
    assert max(point.forget for point in record.sweep) <= 0.5
