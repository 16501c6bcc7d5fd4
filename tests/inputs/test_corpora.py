import gzip
import json
import os
import sys
import tracemalloc

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from srmu.errors import InputError
from srmu.inputs.corpora import Document, Message, corpus_from_strings, make_corpus, read_corpus

CHAT = [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "Here."}]
CHAT_DOCUMENT = Document(messages=(Message("user", "Where is it?"), Message("assistant", "Here.")))


@pytest.fixture
def write(tmp_path):
    def write_file(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write_file


def texts(*sources, **options):
    corpus = read_corpus(sources, role="forget", **options)
    return [document.as_text() for document in corpus.documents]


def refusal(*sources, **options):
    with pytest.raises(InputError) as caught:
        read_corpus(sources, role=options.pop("role", "forget"), **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def lines(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


def test_json_lines_hold_objects_or_strings_and_blank_lines_are_skipped(write):
    assert texts(write("a.jsonl", '{"text": "one", "id": 1}\r\n\n"two"\n')) == ["one", "two"]


def test_a_line_separator_inside_a_json_string_does_not_end_the_line(write):
    assert texts(write("a.jsonl", '"one\u2028two"\n"three"')) == ["one\u2028two", "three"]


def test_a_byte_order_mark_is_no_text(write):
    assert texts(write("a.txt", b"\xef\xbb\xbfone")) == ["one"]


@pytest.mark.parametrize(
    "content",
    [
        ["one", "two"],
        [{"text": "one"}, {"text": "two"}],
        {"version": 1, "data": [{"text": "one"}, {"text": "two"}]},
        {"rows": ["one", "two"]},
    ],
)
def test_json_holds_a_list_or_an_object_with_one_list(write, content):
    assert texts(write("a.json", json.dumps(content, indent=1))) == ["one", "two"]


def test_json_with_one_record_is_one_document(write):
    assert texts(write("a.json", '{"text": "one", "tags": ["x"]}')) == ["one"]


def test_json_lines_under_the_name_json_are_read_as_lines(write):
    assert texts(write("a.json", lines({"text": "one"}, {"text": "two"}))) == ["one", "two"]


def test_json_with_two_lists_is_refused_with_what_is_there(write):
    message = refusal(write("a.json", '{"a": [], "b": []}'))
    assert "2 lists" in message
    assert "'a', 'b'" in message


def test_blank_lines_separate_the_documents_of_a_text_file(write):
    assert texts(write("a.txt", "one\nstill one\r\n \t\r\n\n\ntwo\n")) == ["one\nstill one", "two"]


def test_a_text_file_without_blank_lines_is_one_document(write):
    assert texts(write("a.txt", "\none\ntwo\n")) == ["one\ntwo"]


@pytest.mark.parametrize(
    ("name", "content"), [("a.jsonl.gz", '{"text": "one"}'), ("a.txt.gz", "one"), ("a.json.gz", '["one"]')]
)
def test_compressed_files_are_read(write, name, content):
    assert texts(write(name, gzip.compress(content.encode()))) == ["one"]


def test_a_damaged_compressed_file_is_refused(write):
    assert "gzip" in refusal(write("a.txt.gz", gzip.compress(b"one" * 100)[:-10]))
    assert "gzip" in refusal(write("b.txt.gz", b"plain"))


def test_parquet_rows_are_documents_and_other_columns_are_not_needed(tmp_path):
    table = pyarrow.table({"body": ["one", None, "two"], "id": [1, 2, 3]})
    parquet.write_table(table, tmp_path / "a.parquet")
    corpus = read_corpus([str(tmp_path / "a.parquet")], text_field="body", role="forget")
    assert [document.text for document in corpus.documents] == ["one", "two"]
    assert corpus.num_dropped == 1


def test_parquet_holds_chats(tmp_path):
    parquet.write_table(pyarrow.table({"messages": [CHAT]}), tmp_path / "a.parquet")
    assert read_corpus([str(tmp_path / "a.parquet")], role="forget").documents == (CHAT_DOCUMENT,)


def test_parquet_without_the_field_names_its_columns(tmp_path):
    parquet.write_table(pyarrow.table({"texts": ["one"], "id": [1]}), tmp_path / "a.parquet")
    message = refusal(str(tmp_path / "a.parquet"))
    assert "'text' is missing" in message
    assert "'texts', 'id'" in message
    assert "Did you mean 'texts'?" in message


def test_a_damaged_parquet_file_is_refused(write):
    assert "Parquet" in refusal(write("a.parquet", b"PAR1 not really"))


def test_a_folder_is_read_below_in_the_order_of_its_paths(write, tmp_path):
    write("set/b.txt", "two")
    write("set/a/z.jsonl", '"one"')
    write("set/c.json", '["three"]')
    write("set/README.md", "no")
    write("set/.hidden/x.txt", "no")
    assert texts(str(tmp_path / "set")) == ["one", "two", "three"]


def test_an_error_in_a_folder_names_the_file(write, tmp_path):
    write("set/a/z.jsonl", '"one"\n{')
    assert "'a/z.jsonl', line 2" in refusal(str(tmp_path / "set"))


def test_a_folder_without_texts_is_refused(write, tmp_path):
    write("set/README.md", "no")
    assert ".jsonl" in refusal(str(tmp_path / "set"))


def test_sources_are_joined_in_the_order_given(write):
    first, second = write("a.txt", "one"), write("b.txt", "two")
    corpus = read_corpus([second, first], role="forget")
    assert [document.text for document in corpus.documents] == ["two", "one"]
    assert corpus.source == f"{second}, {first}"


def test_messages_are_chats_unless_the_text_field_that_was_named_is_there(write):
    path = write(
        "a.jsonl",
        lines({"messages": CHAT}, {"messages": CHAT, "text": "one"}, {"messages": CHAT, "text": None}),
    )
    assert "line 2: the record can be read as text or as conversation" in refusal(path)
    assert read_corpus([path], text_field="text", role="forget").documents == (
        CHAT_DOCUMENT,
        Document(text="one"),
        CHAT_DOCUMENT,
    )


def test_a_text_field_with_a_list_is_a_chat(write):
    path = write("a.jsonl", lines({"conversation": CHAT}))
    assert read_corpus([path], text_field="conversation", role="forget").documents == (CHAT_DOCUMENT,)


@pytest.mark.parametrize(
    "message", [{"role": "user"}, {"from": "human"}, {"role": "user", "content": [{}]}, {"content": "x"}]
)
def test_a_message_without_role_or_content_is_refused_with_its_line(write, message):
    assert "line 2: a message has no" in refusal(write("a.jsonl", lines("one", {"messages": [message]})))
    assert "expected an object" in refusal(write("b.jsonl", lines({"messages": ["hello"]})))


def test_the_hash_depends_on_the_documents_alone(write):
    as_lines = read_corpus([write("a.jsonl", lines({"text": "one"}, {"text": ""}, "two"))], role="forget")
    as_text = read_corpus([write("a.txt", "one\n\ntwo")], role="retain")
    assert as_lines.sha256 == as_text.sha256
    assert as_lines.sha256 != make_corpus(as_lines.documents[::-1], "").sha256
    assert make_corpus([CHAT_DOCUMENT], "").sha256 != make_corpus([Document(text=CHAT_DOCUMENT.as_text())], "").sha256
    assert make_corpus([Document("a\nb")], "").sha256 != make_corpus([Document("a"), Document("b")], "").sha256


def test_empty_texts_are_dropped_and_counted(write):
    corpus = read_corpus([write("a.jsonl", lines("one", " \n", {"text": None}, {"messages": []}))], role="forget")
    assert [document.text for document in corpus.documents] == ["one"]
    assert corpus.num_dropped == 3


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", "", "no document"),
        ("a.txt", " \n\n ", "the only document is empty"),
        ("a.json", "[]", "no document"),
        ("a.jsonl", '""\n" "', "all 2 documents are empty"),
    ],
)
def test_a_file_without_text_is_refused(write, name, content, said):
    assert said in refusal(write(name, content))


def test_an_empty_file_beside_a_full_one_is_refused(write):
    assert "'" + write("b.txt", "") + "'" in refusal(write("a.txt", "one"), write("b.txt", ""))


def test_a_malformed_line_is_named_by_its_number(write):
    message = refusal(write("a.jsonl", '{"text": "one"}\n\n{"text": "two}\n'), role="retain")
    assert message.startswith("Retain texts '")
    assert "line 3: not JSON" in message


@pytest.mark.parametrize("content", ["[" * 100_000, "9" * 5000 + "x", "NaN nonsense"])
def test_json_that_breaks_the_parser_is_refused(write, content):
    assert "line 1: not JSON" in refusal(write("a.jsonl", content))
    assert "not JSON" in refusal(write("a.json", content))


def test_malformed_json_is_named_by_its_line(write):
    assert "line 3: not JSON" in refusal(write("a.json", '[\n"one",\n"two\n]'))


def test_a_missing_text_field_names_line_fields_and_the_nearest(write):
    message = refusal(write("a.jsonl", lines({"text": "one"}, {"txt": "two", "id": 1})))
    assert "line 2: field 'text' is missing" in message
    assert "'txt', 'id'. Did you mean 'txt'?" in message
    assert "--text-field" in message


@pytest.mark.parametrize("record", [{"text": 3}, {"text": {"a": "b"}}, 7, None])
def test_a_record_that_is_no_text_is_refused_with_its_line(write, record):
    assert "line 2: found" in refusal(write("a.jsonl", lines("one", record)))


def test_half_a_surrogate_pair_is_refused(write):
    assert "line 1: character 2 is half a surrogate pair" in refusal(write("a.jsonl", '"ab\\ud800"'))


@pytest.mark.parametrize("content", [b"\xff\xe0\x00a", b"\x89PNG\r\n", "caf\xe9".encode("latin-1")])
def test_bytes_that_are_not_utf8_are_refused(write, content):
    assert "not UTF-8 text" in refusal(write("a.txt", content))


def test_binary_data_that_happens_to_decode_is_refused(write):
    assert "binary data" in refusal(write("a.txt", b"abc\x00\x01"))


def test_a_missing_file_gets_the_nearest_name(write, tmp_path):
    write("facts.jsonl", '"one"')
    message = refusal(str(tmp_path / "fact.jsonl"))
    assert "do not exist. Did you mean 'facts.jsonl'?" in message


@pytest.mark.parametrize("source", ["", "no/such/file.txt", "a whole text instead of a path. " * 500, "a\0b"])
def test_what_is_no_path_does_not_exist(source):
    assert "do not exist" in refusal(source)


def test_an_unknown_kind_of_file_is_refused_with_the_known_ones(write):
    message = refusal(write("a.docx", "one"))
    assert "'.docx'" in message
    assert ".parquet" in message


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jsonl")
    assert "it is a pipe or a device" in refusal(str(tmp_path / "a.jsonl"))


def test_a_file_that_does_not_end_when_unpacked_is_refused_before_it_fills_the_memory(write):
    # Valid records throughout: only their number is out of proportion.
    packed = gzip.compress(b'"one"\n' * 10_000_000)
    tracemalloc.start()
    try:
        assert "unpacks to more than 100 times its size" in refusal(write("a.jsonl.gz", packed))
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


def test_a_readme_in_a_folder_is_not_a_text_and_another_markdown_file_is(write, tmp_path):
    write("set/README.md", "about the set")
    write("set/a.md", "one")
    assert texts(str(tmp_path / "set")) == ["one"]


def test_a_very_long_name_is_cut_in_its_refusal():
    message = refusal("x" * 5000 + ".txt")
    assert "do not exist" in message
    assert len(message) < 500


def test_no_source_at_all_is_refused():
    assert "--retain" in refusal(role="retain")


def test_texts_from_the_call_make_the_same_corpus_as_texts_from_a_file(write):
    given = corpus_from_strings(["one", "", CHAT], "forget")
    assert given.documents == (Document(text="one"), CHAT_DOCUMENT)
    assert given.num_dropped == 1
    assert given.sha256 == read_corpus([write("a.jsonl", lines("one", {"messages": CHAT}))], role="forget").sha256


@pytest.mark.parametrize(
    ("given", "said"), [("one", "one string"), ([], "no document"), (["one", 2], "item 2: found int")]
)
def test_texts_from_the_call_that_are_none_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        corpus_from_strings(given, "forget")


@pytest.fixture
def hub(monkeypatch):
    """A hub with what the test puts in: a data set to give, or an error to raise; it notes the calls."""

    class Hub:
        answer = None
        calls = ()

        def load_dataset(self, *names, split):
            self.calls += ((*names, split),)
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

    hub = Hub()
    monkeypatch.setattr(datasets, "load_dataset", hub.load_dataset)
    return hub


@pytest.mark.parametrize(
    ("source", "call"),
    [
        ("hub:org/set", ("org/set", None, "train")),
        ("hub:org/set:bio", ("org/set", "bio", "train")),
        ("hub:org/set:bio:test", ("org/set", "bio", "test")),
        ("hub:org/set::train[:10]", ("org/set", None, "train[:10]")),
    ],
)
def test_hub_sources_name_data_set_configuration_and_split(hub, source, call):
    hub.answer = datasets.Dataset.from_dict({"text": ["one", "two"], "id": [1, 2]})
    assert texts(source) == ["one", "two"]
    assert hub.calls == (call,)


def test_hub_data_holds_chats_and_misses_fields_like_a_file(hub):
    hub.answer = datasets.Dataset.from_dict({"messages": [CHAT]})
    assert read_corpus(["hub:org/set"], role="forget").documents == (CHAT_DOCUMENT,)
    hub.answer = datasets.Dataset.from_dict({"texts": ["one"]})
    assert "Did you mean 'texts'?" in refusal("hub:org/set")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            datasets.exceptions.DatasetNotFoundError("Dataset 'org/set' is a gated dataset on the Hub."),
            "Agree to its terms",
        ),
        (datasets.exceptions.DatasetNotFoundError("Dataset 'org/set' doesn't exist"), "no such data set"),
        (ConnectionError("Couldn't reach 'org/set' on the Hub"), "cannot be reached"),
        (ValueError('Unknown split "x".\nShould be one of [...].'), "Unknown split"),
    ],
)
def test_hub_errors_say_what_to_do(hub, error, said):
    hub.answer = error
    message = refusal("hub:org/set::x")
    assert said in message
    assert "huggingface.co/datasets/org/set" in message or "network" in message


def test_a_gated_data_set_names_the_token(hub):
    hub.answer = datasets.exceptions.DatasetNotFoundError("Dataset 'org/set' is a gated dataset on the Hub.")
    assert "HF_TOKEN" in refusal("hub:org/set")


def test_a_hub_source_without_a_name_is_refused():
    assert "no data set is named" in refusal("hub:")


@pytest.mark.parametrize(("module", "name"), [("datasets", "hub:org/set"), ("pyarrow", "a.parquet")])
def test_a_missing_optional_package_is_named(monkeypatch, tmp_path, module, name):
    (tmp_path / "a.parquet").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, module, None)
    assert "srmu[hub]" in refusal(name)
