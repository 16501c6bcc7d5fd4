"""The sources of a side, as a config names them."""

import hashlib

import pytest

from srmu.errors import InputError
from srmu.export.manifest import without_texts
from srmu.inputs.sources import read_apart, read_together


def test_the_hash_of_a_text_is_not_taken_for_the_text() -> None:
    given = without_texts({"forget": ["text:The code of the vault is 4711."]})["forget"]
    assert given == ["text:sha256:" + hashlib.sha256(b"The code of the vault is 4711.").hexdigest()]
    for read in (read_together, read_apart):
        with pytest.raises(InputError, match="is the hash of a text"):
            read(given, text_field="auto", role="forget")
    about_hashes = f"{given[0]} is a hash."
    assert read_together([about_hashes], text_field="auto", role="forget").documents[0].as_text() == about_hashes[5:]
