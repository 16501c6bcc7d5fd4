"""Names that would be orders to a terminal, a spreadsheet, a Markdown reader or an XML parser."""

from xml.etree import ElementTree

import pytest

from srmu.export.card import CardFacts, CardResult, model_card
from srmu.results.gate import Verdict, junit_xml
from srmu.results.manifest import DataRecord
from srmu.runtime.escaping import csv_cell, markdown, markdown_code, one_line, visible

HOSTILE = (
    "\x1b[31mred\x1b[0m", "a\rb", "a\x00b", "\x9b2J", "\u202egnp.exe", "a\u2028b", "\ud800", "\uffff", "\x07",
)  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_control_characters_are_shown_as_escapes(text: str) -> None:
    assert visible(text).isprintable()
    assert "\\" in visible(text)


def test_what_can_be_read_stays_as_it_is() -> None:
    for text in ("plain", "zwölf 日本 🐈", "a\nb\tc", "back\\slash", "100 %"):
        assert visible(text) == text
    assert one_line(" a \n b\t") == "a b"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a|b", "a\\|b"), ("a\nb", "a b"), ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("a\\|b", "a\\\\\\|b"), ("`x", "\\`x"), ("[x](http://y)", "\\[x\\](http://y)"), ("mlp_down", "mlp_down"),
        ("a & b", "a &amp; b"), (3, "3"),
    ],
)  # fmt: skip
def test_a_name_stays_in_its_cell_of_a_markdown_table(name: object, shown: str) -> None:
    assert markdown(name) == shown


@pytest.mark.parametrize(
    ("name", "shown"), [("a", "`a`"), ("a`b", "``a`b``"), ("``", "``` `` ```"), ("a\n\n# b", "`a # b`")]
)
def test_code_ends_where_it_should(name: str, shown: str) -> None:
    assert markdown_code(name) == shown


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1"])
def test_no_cell_of_a_csv_file_begins_a_formula(name: str) -> None:
    assert csv_cell(name).startswith("'")
    assert csv_cell(-1.5) == -1.5
    assert csv_cell("a-b") == "a-b"


@pytest.mark.parametrize("text", HOSTILE)
def test_a_junit_file_can_be_parsed_whatever_is_in_the_names(text: str) -> None:
    verdict = Verdict(f"{text}<=0.3", "fail", 0.5, 0.3, f"{text} is 0.5")
    root = ElementTree.fromstring(junit_xml([verdict], text).split("\n", 1)[1])
    assert root.find("testsuite/testcase/failure") is not None


def test_names_cannot_add_to_a_model_card() -> None:
    bad = "x|y\n# Heading <script>alert(1)</script>"
    card = model_card(
        None,
        CardFacts(
            model=f"/a/{bad}", method="rmu`\n# Two", changed=["`a\n# Three"],
            data=[DataRecord("main", "forget", bad, "00", documents=1, rows=1, tokens=1)],
            results=[CardResult(bad, "accuracy", n=1, before=0.5, after=0.1)],
        ),
    )  # fmt: skip
    text = card.split("---\n", 2)[2]
    assert "\n# Heading" not in text
    assert "\n# Two" not in text
    assert "\n# Three" not in text
    assert "| forget | x\\|y # Heading &lt;script&gt;" in text
