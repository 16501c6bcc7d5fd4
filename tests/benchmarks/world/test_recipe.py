import dataclasses
from dataclasses import replace

import pytest
from world.recipe import WorldRecipe

from srmu.errors import InputError


def test_the_digest_changes_with_every_setting():
    plain = WorldRecipe()
    other = {"seed": 1, "entanglement": 0.5, "shared_values": 0.5, "kinds": False}
    changed = [
        replace(plain, **{field.name: other.get(field.name, 2 * (getattr(plain, field.name) or 0))})
        for field in dataclasses.fields(plain)
    ]
    assert len({recipe.digest for recipe in (plain, *changed)}) == len(changed) + 1


def test_the_digest_is_the_same_in_every_process():
    # It names what lies in users' caches. Raise VERSION, or change a setting, and correct it here.
    assert WorldRecipe().digest == "28d9a8ab24bd7f0d"


@pytest.mark.parametrize(
    ("setting", "value"),
    [("entanglement", 1.5), ("shared_values", -0.1), ("values", 3), ("name_syllables", 1), ("num_syllables", 71)],
)
def test_a_setting_out_of_range_is_refused_by_name(setting, value):
    with pytest.raises(InputError, match=f"`{setting}={value}`"):
        WorldRecipe(**{setting: value})


def test_a_width_that_the_heads_do_not_divide_is_refused():
    with pytest.raises(InputError, match="`heads=3`"):
        WorldRecipe(heads=3)
