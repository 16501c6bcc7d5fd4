"""What `import srmu` offers: exactly what its help lists, each importable and documented."""

import inspect
import re
from dataclasses import fields

import pytest

import srmu
from srmu.config.settings import GROUPS

LISTED = re.findall(r"^    (\w+)  +\S", srmu.__doc__, re.MULTILINE)


def test_the_help_lists_each_public_name_once_and_no_other():
    assert sorted(LISTED) == sorted(srmu.__all__)


def test_the_help_is_a_table_of_contents_that_fits_a_screen():
    headings = re.findall(r"^(\w[\w ]+):$", srmu.__doc__, re.MULTILINE)
    assert headings == ["Forget", "Look at the result", "Decide", "Settings and results"]
    assert len(srmu.__doc__.splitlines()) <= 45


@pytest.mark.parametrize("name", srmu.__all__)
def test_a_public_name_is_loaded_from_its_home_and_documented(name):
    found = getattr(srmu, name)
    assert callable(found)
    assert found.__module__.startswith("srmu.")
    # A dataclass without documentation has its signature instead.
    assert re.match(r"[A-Z].* .*[.;,:]", inspect.getdoc(found).splitlines()[0])
    assert not inspect.getdoc(found).startswith(f"{name}(")


def test_completion_offers_the_public_names_and_an_unknown_one_is_refused():
    assert dir(srmu) == sorted([*srmu.__all__, "__version__"])
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        srmu.no_such_name  # noqa: B018


def test_every_group_of_settings_is_public():
    classes = {group.__name__ for group in GROUPS.values()}
    assert classes <= set(srmu.__all__)
    assert {each.name for each in fields(srmu.UnlearnConfig)} == {*GROUPS, "preset"}
