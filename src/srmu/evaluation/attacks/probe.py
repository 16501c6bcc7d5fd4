"""Linear probe: can a reader of the hidden states still separate the right answer from wrong ones?

Definition: a ridge regression on the residual stream after "question + choice", less the mean over all questions with
the same choice; right choices against wrong ones, fitted on the given half. A tested question is answered by the choice
that the probe rates highest. The layer is chosen by two-fold cross-validation over the given facts, in each model for
itself. Source: linear probes (Alain and Bengio, arXiv 1610.01644); latent knowledge of an unlearned model is compared
with the base's in arXiv 2402.16835 (abstracts read). What the probe is fitted on is ours. Budget: one forward pass per
choice.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from srmu.evaluation.attacks.asking import OtherMeasure, record_of_measure
from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.hidden import last_hidden_states
from srmu.evaluation.attacks.setting import SIDES, AttackSetting, fact_of
from srmu.evaluation.attacks.statements import statement
from srmu.inputs.questions import Question
from srmu.results.attack_records import AttackRecord, Setting

RIDGE = 1.0
"""Times the number of features, on standardised features."""


def probe(setting: AttackSetting, cells: Cells) -> AttackRecord:
    """Accuracy of the probe at the layer chosen on the given half."""
    kept_given, kept_tested = setting.needed_kept_given(), setting.all_kept()
    found: dict[str, float] = {}
    layers: dict[str, dict[str, Setting]] = {}
    for side in SIDES:
        model = setting.subjects[side].model()
        given, tested = _states(setting, model, setting.given, setting.tested)
        best = _choose_layer(given, setting.given)
        found[side] = probe_accuracy(given[best], setting.given, tested[best], setting.tested)
        states = _states(setting, model, kept_given, kept_tested)
        accuracy = probe_accuracy(states[0][best], kept_given, states[1][best], kept_tested)
        found["kept" if side == "result" else "kept_base"] = accuracy
        layers[side] = {"layer": best}
    measured = OtherMeasure(name="accuracy of a linear probe", n=len(setting.tested), chance=setting.chance, **found)
    return record_of_measure(setting, cells, measured, chosen=layers)


def _states(
    setting: AttackSetting, model: Any, given: Sequence[Question], tested: Sequence[Question]
) -> tuple[Tensor, Tensor]:
    """`[layers, choices, hidden]` of both halves, without what a choice is by itself."""
    pairs = [(question, choice) for question in (*given, *tested) for choice in question.choices]
    texts = [statement(question, choice) for question, choice in pairs]
    states = last_hidden_states(model, setting.tokenizer, texts)
    states = without_choice_means(states, [choice for _, choice in pairs])
    end = sum(len(question.choices) for question in given)
    return states[:, :end], states[:, end:]


def without_choice_means(
    states: Float[Tensor, "layers choices hidden"], choices: Sequence[str]
) -> Float[Tensor, "layers choices hidden"]:
    """Subtract from each state the mean over all questions with the same choice.

    Else the probe would learn which names were right among the given facts, and those are wrong in tested questions.
    """
    names = list(dict.fromkeys(choices))
    index = torch.tensor([names.index(choice) for choice in choices])
    sums = torch.zeros(states.shape[0], len(names), states.shape[2]).index_add_(1, index, states)
    means = sums / torch.bincount(index)[:, None]
    return states - means[:, index]


def _choose_layer(states: Float[Tensor, "layers choices hidden"], questions: Sequence[Question]) -> int:
    """Two-fold cross-validation over facts."""
    facts = list(dict.fromkeys(map(fact_of, questions)))
    first = set(facts[::2])
    folds = [[n for n, q in enumerate(questions) if (fact_of(q) in first) == side] for side in (True, False)]
    starts = _starts(questions)

    def part(layer: Tensor, numbers: Sequence[int]) -> Tensor:
        return torch.cat([layer[starts[n] : starts[n + 1]] for n in numbers])

    scores = []
    for layer in states:
        accuracies = [
            probe_accuracy(
                part(layer, fit), [questions[n] for n in fit], part(layer, test), [questions[n] for n in test]
            )
            for fit, test in (folds, folds[::-1])
        ]
        scores.append(sum(accuracies))
    return max(range(len(scores)), key=scores.__getitem__)


def probe_accuracy(
    fit: Float[Tensor, "choices hidden"], fit_questions: Sequence[Question],
    test: Float[Tensor, "tested hidden"], test_questions: Sequence[Question],
) -> float:  # fmt: skip
    """Fit right (1) against wrong (0) choices, answer the tested questions; rows are the choices in order."""
    centre, scale = fit.mean(0), fit.std(0) + 1e-6
    features, tested = ((states - centre) / scale for states in (fit.double(), test.double()))
    targets = torch.cat([torch.eye(len(q.choices), dtype=torch.float64)[q.answer] for q in fit_questions])
    # The dual form: there are fewer choices than features.
    kernel = features @ features.T + RIDGE * features.shape[1] * torch.eye(len(features), dtype=torch.float64)
    ratings = tested @ (features.T @ torch.linalg.solve(kernel, targets - targets.mean()))
    starts = _starts(test_questions)
    right = [
        int(ratings[starts[n] : starts[n + 1]].argmax()) == question.answer for n, question in enumerate(test_questions)
    ]
    return sum(right) / len(right)


def _starts(questions: Sequence[Question]) -> list[int]:
    """Where each question's choices begin, and the end."""
    starts = [0]
    for question in questions:
        starts.append(starts[-1] + len(question.choices))
    return starts
