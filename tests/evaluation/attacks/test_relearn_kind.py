"""Relearning on texts of the kind: what it trains on holds none of the forgotten facts."""

import dataclasses

import pytest

from srmu.evaluation.attacks.cells import Cells, CellsFile
from srmu.evaluation.attacks.outcome import NotApplicable
from srmu.evaluation.attacks.relearn import material_texts
from srmu.evaluation.attacks.relearn_kind import relearn_kind
from srmu.inputs.questions import Question


def question(fact, prompt, right, wrong="Nowhere"):
    return Question(prompt=prompt, choices=(right, wrong), answer=0, fact=fact)


@pytest.fixture
def setting(make_setting, knowing):
    return dataclasses.replace(
        make_setting(knowing, knowing),
        given=(question("capital:Kenya", "Kenya's capital is", "Nairobi"),),
        tested=(question("capital:Mali", "Mali's capital is", "Bamako"),),
        kept_given=(
            question("capital:Peru", "Peru's capital is", "Lima"),
            question("capital:Chad", "Unlike Mali, Chad has the capital", "Here"),
            question("capital:Oman", "Oman's capital, not Nairobi, is", "Muscat"),
            question("symbol:iron", "Iron's symbol is", "Fe"),
        ),
    )


def test_kept_facts_of_the_same_relations_are_told_without_forgotten_answers_and_subjects(setting):
    assert material_texts(setting, "kind") == ["Peru's capital is Lima"]


def test_texts_of_the_user_take_their_place_and_are_looked_through_too(setting):
    own = ("Quito lies high.", "Bamako lies on the Niger.", "Kenya has lakes.", "Kenyans run.")
    setting = dataclasses.replace(setting, texts={"kind": own})
    assert material_texts(setting, "kind") == ["Quito lies high.", "Kenyans run."]
    with pytest.raises(NotApplicable, match="texts of the kind"):
        material_texts(dataclasses.replace(setting, texts={"kind": own[1:3]}), "kind")


def test_where_no_kept_fact_is_of_the_kind_it_is_not_applicable(make_setting, knowing):
    with pytest.raises(NotApplicable, match="--texts kind="):
        relearn_kind(make_setting(knowing, knowing), Cells(CellsFile(None), "x"))


def test_both_models_are_trained_on_it(make_setting, knowing, twin):
    setting = make_setting(knowing, twin)
    texts = {"kind": tuple(f"{q.prompt} {q.choices[q.answer]}" for q in setting.kept_given)}
    record = relearn_kind(dataclasses.replace(setting, texts=texts), Cells(CellsFile(None), "x"))
    assert {cell.material for cell in record.cells} == {"kind"}
    assert record.base_after > 0.8
    assert record.forget_after < 0.6
