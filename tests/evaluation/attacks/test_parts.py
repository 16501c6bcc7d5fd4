"""The arithmetic of attacks, and what they do to questions and weights."""

import math

import numpy as np
import pytest
import torch
import transformers

from srmu.errors import InputError
from srmu.evaluation.attacks import fine_tuning, hidden, quantise
from srmu.evaluation.attacks.ablate import separating_directions
from srmu.evaluation.attacks.curves import Stop, may_count_again
from srmu.evaluation.attacks.few_shot import with_examples
from srmu.evaluation.attacks.keywords import keywords_of
from srmu.evaluation.attacks.logit_lens import final_norm
from srmu.evaluation.attacks.outcome import counts, recovery, worst_utility
from srmu.evaluation.attacks.preparing import choose_budget
from srmu.evaluation.attacks.probe import probe_accuracy, without_choice_means
from srmu.evaluation.attacks.relearn_matched import accuracy_at
from srmu.evaluation.attacks.setting import FULL, QUICK, fact_of, right_answer
from srmu.evaluation.attacks.statements import false_statements, statement
from srmu.evaluation.membership import area_under_roc
from srmu.inputs.questions import Question
from srmu.surgery.taps import hidden_of


def test_recovery_is_0_at_chance_1_at_the_attacked_base_and_undefined_without_knowledge():
    assert recovery(0.25, 0.85, 0.25) == 0
    assert recovery(0.85, 0.85, 0.25) == 1
    # 0.36 and a base at 0.76, as in the trial.
    assert recovery(0.36, 0.76, 0.25) == pytest.approx(0.11 / 0.51)
    assert math.isnan(recovery(0.3, 0.25, 0.25))


def test_an_attack_counts_where_the_base_keeps_80_percent_of_its_accuracy():
    assert counts(0.9, 0.72, 0.25)
    assert not counts(0.9, 0.71, 0.25)
    assert not counts(0.25, 0.24, 0.25)


def stop(forget, disturbance=0.0):
    return Stop(forget=forget, stderr=None, kept={}, step=1, disturbance=disturbance)


@pytest.mark.parametrize(
    ("accuracies", "goes_on"),
    [([0.5], True), ([0.9, 0.5], True), ([0.9, 0.5, 0.8], True), ([0.5, 0.6], False), ([0.9, 0.5, 0.6], False)],
)
def test_relearning_goes_on_after_one_stop_at_which_it_does_not_count_and_ends_after_two(accuracies, goes_on):
    assert may_count_again([stop(accuracy) for accuracy in accuracies], 0.9, 0.25) == goes_on


def test_utility_is_the_worst_ratio():
    assert worst_utility({"a": 0.9, "b": 0.4}, {"a": 0.9, "b": 0.8}) == 0.5
    assert worst_utility({"a": 0.9}, {"a": 0.0}) is None


def test_the_quick_budget_keeps_within_30_steps_and_the_full_one_sweeps_a_factor_of_30_over_100():
    assert QUICK.steps[-1] <= 30
    assert FULL.steps[-1] == 100
    assert max(FULL.rates) / min(FULL.rates) >= 30


def test_ways_to_relearn_can_be_chosen_and_the_rest_of_the_budget_stays():
    budget = choose_budget(True, (), ("full",))
    assert set(budget.tunings.values()) == {("full",)}
    assert (budget.tunings.keys(), budget.rates) == (FULL.tunings.keys(), FULL.rates)
    assert choose_budget(True, (), ()) == FULL
    with pytest.raises(InputError, match=r"'half'.*full, lora"):
        choose_budget(True, (), ("full", "half"))


def test_the_halves_share_no_fact_and_examples_never_tell_the_asked_one(make_setting, knowing):
    setting = make_setting(knowing, knowing)
    given, tested = ({fact_of(question) for question in half} for half in (setting.given, setting.tested))
    assert (len(given), len(tested), given & tested) == (8, 8, set())
    for question in with_examples(setting.given, setting.given):
        assert question.prompt.count(right_answer(question)) == 0
        assert question.prompt.count("\n\n") == 4


def test_false_statements_are_never_true_and_the_same_for_each_form_of_a_fact(make_setting, knowing):
    questions = make_setting(knowing, knowing).given
    false = false_statements(questions)
    assert not set(false) & {statement(question) for question in questions}
    wrong: dict[str, set[str]] = {}
    for question, wrongly in zip(questions, false, strict=True):
        wrong.setdefault(fact_of(question), set()).add(wrongly.split()[-1])
    assert all(len(answers) == 1 for answers in wrong.values())


def test_a_false_answer_is_no_form_s_right_answer():
    forms = [
        Question(prompt=p, choices=c, answer=a, fact="f") for p, c, a in (("x", ("r", "w"), 0), ("y", ("v", "r"), 1))
    ]
    assert false_statements(forms) == ["x w", "y w"]


def test_keywords_are_subjects():
    questions = [Question(prompt="p", choices=("a", "b"), answer=0, fact=fact) for fact in ("capital:Mali", "Peru", "")]
    assert keywords_of(questions) == ["Mali", "Peru"]


def test_accuracy_at_a_disturbance_is_interpolated_from_the_untouched_model_on():
    curve = [stop(0.5, 1.0), stop(0.9, 2.0)]
    assert accuracy_at(curve, 0.5, 0.3) == pytest.approx(0.4)
    assert accuracy_at(curve, 1.5, 0.3) == pytest.approx(0.7)
    assert accuracy_at(curve, 2.0, 0.3) == pytest.approx(0.9)


def test_the_area_is_the_share_of_pairs_in_order():
    assert area_under_roc(np.array([1.0, 3.0]), np.array([0.0, 2.0])) == 0.75
    assert area_under_roc(np.array([1.0]), np.array([1.0])) == 0.5


def test_directions_are_orthonormal_and_the_first_is_the_difference_of_means():
    generator = torch.Generator().manual_seed(0)
    forget, kept = torch.randn(6, 8, generator=generator) + 2, torch.randn(5, 8, generator=generator)
    basis = separating_directions(forget, kept, 3)
    torch.testing.assert_close(basis @ basis.T, torch.eye(3))
    difference = forget.mean(0) - kept.mean(0)
    assert abs(torch.cosine_similarity(basis[0], difference, dim=0)) == pytest.approx(1, abs=1e-5)


def test_hidden_states_are_those_of_transformers_and_lack_an_ablated_direction(make_setting, knowing):
    setting = make_setting(knowing, knowing)
    model, tokenizer = setting.subjects["base"].model(), setting.tokenizer
    texts = ["the capital of forgetland01 is", "kept", "kept has as its"]
    states = hidden.last_hidden_states(model, tokenizer, texts)
    for place, text in enumerate(texts):
        with torch.no_grad():
            output = model(input_ids=torch.tensor([tokenizer.encode(text)]), output_hidden_states=True)
        torch.testing.assert_close(states[0, place], output.hidden_states[1][0, -1], atol=1e-4, rtol=1e-4)
    basis = torch.nn.functional.normalize(torch.ones(1, 64), dim=1)
    with hidden.without_directions(model, basis):
        ablated = hidden.last_hidden_states(model, tokenizer, texts)
    assert (ablated @ basis[0]).abs().max() < 1e-4 < (states @ basis[0]).abs().max()
    torch.testing.assert_close(hidden.last_hidden_states(model, tokenizer, texts), states)


def test_a_probe_reads_a_linear_feature_and_nothing_from_noise():
    generator = torch.Generator().manual_seed(0)
    questions = [Question(prompt=str(n), choices=("a", "b", "c", "d"), answer=n % 4) for n in range(60)]
    noise = torch.randn(240, 16, generator=generator)
    marked = noise.clone()
    marked[[4 * n + q.answer for n, q in enumerate(questions)], 3] += 4
    half = questions[:30]
    assert probe_accuracy(marked[:120], half, marked[120:], questions[30:]) > 0.9
    assert probe_accuracy(noise[:120], half, noise[120:], questions[30:]) < 0.5


def test_a_probe_sees_no_choice_by_itself():
    states = torch.tensor([[[1.0, 2.0], [5.0, 0.0], [3.0, 4.0]]])
    centred = without_choice_means(states, ["a", "b", "a"])
    assert centred.tolist() == [[[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0]]]


def test_noise_has_the_norm_of_the_change_and_stands_on_the_changed_matrices_alone(make_setting, knowing):
    setting = make_setting(knowing, knowing)
    base = setting.subjects["base"].fresh()
    changed = setting.subjects["result"].fresh()
    assert quantise.change_norms(base, changed) == {}
    name = "model.layers.1.mlp.down_proj.weight"
    with torch.no_grad():
        changed.get_parameter(name).add_(0.01)
    norms = quantise.change_norms(base, changed)
    assert norms == {name: pytest.approx(0.01 * (64 * 128) ** 0.5, rel=1e-4)}
    quantise.add_noise_(changed, norms, 0)
    noised = setting.subjects["base"].fresh()
    quantise.add_noise_(noised, norms, 0)
    assert quantise.change_norms(base, noised) == {name: pytest.approx(norms[name], rel=1e-4)}


@pytest.mark.parametrize("bits", [8, 4])
def test_quantised_weights_take_few_values_and_the_head_stays(make_setting, knowing, bits):
    model = make_setting(knowing, knowing).subjects["base"].fresh()
    head = model.get_output_embeddings().weight.clone()
    weight = model.model.layers[0].mlp.up_proj.weight.clone()
    quantise.quantised_(model, bits)
    rounded = model.model.layers[0].mlp.up_proj.weight
    group = 64 if bits == 8 else 32
    assert len(rounded[0, :group].unique()) <= (group if bits == 8 else 16)
    assert 0 < (rounded - weight).norm() / weight.norm() < (0.02 if bits == 8 else 0.2)
    assert torch.equal(model.get_output_embeddings().weight, head)


TINY = {
    "mamba": {"state_size": 8},
    "gpt2": {"n_head": 2},
    "mixtral": {"intermediate_size": 32, "num_local_experts": 4, "num_attention_heads": 2, "num_key_value_heads": 2},
    "gpt_oss": {
        "intermediate_size": 32,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
    },
    "opt": {"ffn_dim": 32, "num_attention_heads": 2, "word_embed_proj_dim": 32},
    "lfm2": {"intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2, "full_attn_idxs": [1]},
}


def tiny(family):
    """A random model of a family whose layers are built in another way than Llama's."""
    config = transformers.AutoConfig.for_model(
        family, vocab_size=50, hidden_size=32, num_hidden_layers=2, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        **TINY[family],
    )  # fmt: skip
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("family", TINY)
def test_every_matrix_of_the_layers_is_rounded_whatever_holds_it(family, bits):
    model, ids = tiny(family), torch.arange(12)[None]
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    logits = model(ids).logits
    quantise.quantised_(model, bits)
    error = (model(ids).logits - logits).norm() / logits.norm()
    assert 0 < error < 0.3
    for name, parameter in model.named_parameters():
        is_matrix = ".layers." in f".{name}" or ".h." in f".{name}"
        is_matrix &= parameter.dim() > 1 and not name.endswith(
            ("conv1d.weight", "conv.conv.weight", "A_log", ".gate.weight", ".router.weight", "_bias")
        )
        assert torch.equal(parameter, before[name]) != is_matrix, name


@pytest.mark.parametrize("family", TINY)
def test_the_lens_reads_the_last_layer_as_the_head_does(family):
    model, ids = tiny(family), torch.arange(12)[None]
    states = []
    hook = hidden.decoder_layers(model)[-1].register_forward_hook(lambda _, __, out: states.append(hidden_of(out)))
    logits = model(ids).logits
    hook.remove()
    torch.testing.assert_close(model.get_output_embeddings()(final_norm(model)(states[0])), logits)


@pytest.mark.parametrize("family", TINY)
def test_lora_learns_in_every_family(family):
    pytest.importorskip("peft")
    model, rows = tiny(family), [[3, 4, 5, 6, 7, 8]]
    trained = fine_tuning._add_adapters(model)
    fine_tuning._loss(model, rows).backward()
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in trained)
    adapted = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert any(".experts." in name for name in adapted) == (family in ("mixtral", "gpt_oss"))
