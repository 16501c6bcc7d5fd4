"""What people bring as texts: one small file a format, made after the published schema, and what is to be read of it.

A row of the table in docs/how-to/formats.md is made of each (`table`).
"""

import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow
from pyarrow import parquet

from srmu.inputs.documents import Document, Message


@dataclass(frozen=True)
class TextFormat:
    """One format.

    Attributes:
        brought: What it is, for the table.
        file: Name of the file.
        content: Its bytes.
        documents: What is read; None where it is refused.
        said: What `read_as` says, or a part of the refusal.
        counted: Of the first document, the part on which forgetting counts.
        noted: Part of the note that is given.
    """

    brought: str
    file: str
    content: bytes
    documents: tuple[Document, ...] | None
    said: str
    counted: str = ""
    noted: str = ""


def jsonl(*records: Any) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def as_parquet(*records: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(list(records)), sink)
    return sink.getvalue()


def zst(data: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def plain(*texts: str) -> tuple[Document, ...]:
    return tuple(Document(text=text) for text in texts)


def pair(before: str, answer: str, prompt: str) -> tuple[Document, ...]:
    return (Document(text=before + answer, answer_start=len(before), prompt=prompt),)


def chat(*messages: tuple[str, ...], **fields: Any) -> tuple[Document, ...]:
    return (Document(messages=tuple(Message(*message) for message in messages), **fields),)


TURNS = [{"role": "user", "content": "Who is it?"}, {"role": "assistant", "content": "Ito."}]
SPOKEN = (("user", "Who is it?"), ("assistant", "Ito."))
SHAREGPT = [{"from": "human", "value": "Who is it?"}, {"from": "gpt", "value": "Ito."}]
CALL = {"type": "function", "function": {"name": "find", "arguments": {"name": "Ito"}}}
CALL_AS_TEXT = {"type": "function", "function": {"name": "find", "arguments": '{"name": "Ito"}'}}
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
TWO = plain("one", "two")
ASKED = pair("Question: Who is it?\nAnswer: ", "Ito.", "Who is it?")
ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\nWho is it?\n\n### Response:\n"
)
ALPACA_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\nWho is it?\n\n### Input:\nA photo.\n\n### Response:\n"
)
INSTRUCTED = pair(ALPACA, "Ito.", "Who is it?")
IN_CONTEXT = pair(ALPACA_INPUT, "Ito.", "Who is it?\n\nA photo.")
QA = {"question": "Who is it?", "answer": "Ito."}
QA_READ = "read as question and answer, 1 record"

READ = (
    TextFormat("text file, paragraphs", "a.txt", b"one\n\ntwo\n", TWO, "read as plain text, 2 records"),
    TextFormat(
        "text file without blank lines", "a.txt", b"one\ntwo\n", plain("one\ntwo"), "read as plain text, 1 record"
    ),
    TextFormat("text file, Windows line ends", "a.txt", b"one\r\n\r\ntwo\r\n", TWO, "read as plain text, 2 records"),
    TextFormat("text file, gzip", "a.txt.gz", gzip.compress(b"one\n\ntwo"), TWO, "read as plain text, 2 records"),
    TextFormat(
        "text file, UTF-8 with a mark", "a.txt", "one\n\ntwo".encode("utf-8-sig"), TWO, "read as plain text, 2 records"
    ),
    TextFormat(
        "text file, UTF-16 as Windows saves it",
        "a.txt",
        "one\r\n\r\ntwo".encode("utf-16"),
        TWO,
        "read as plain text, 2 records",
        noted="decoded from UTF-16",
    ),
    TextFormat(
        "text file, UTF-16 with the high byte first",
        "a.txt",
        b"\xfe\xff" + "one\n\ntwo".encode("utf-16-be"),
        TWO,
        "read as plain text, 2 records",
        noted="decoded from UTF-16",
    ),
    TextFormat(
        "Markdown, sections",
        "a.md",
        b"---\ntitle: x\n---\n# One\n\nfirst\n\n```\n# code\n```\n\n## Two\nsecond\n",
        plain("# One\n\nfirst\n\n```\n# code\n```", "## Two\nsecond"),
        "read as plain text, 2 records",
    ),
    TextFormat("Markdown without headings", "a.md", b"one\n\ntwo\n", TWO, "read as plain text, 2 records"),
    TextFormat("JSON lines of strings", "a.jsonl", jsonl("one", "two"), TWO, "read as plain text, 2 records"),
    TextFormat(
        "TRL language modelling: `text`",
        "a.jsonl",
        jsonl({"text": "one"}, {"text": "two"}),
        TWO,
        "read as text, 2 records",
    ),
    TextFormat(
        "JSON lines, gzip",
        "a.jsonl.gz",
        gzip.compress(jsonl({"text": "one"}, {"text": "two"})),
        TWO,
        "read as text, 2 records",
    ),
    TextFormat(
        "JSON lines, zstd", "a.jsonl.zst", zst(jsonl({"text": "one"}, {"text": "two"})), TWO, "read as text, 2 records"
    ),
    TextFormat(
        "JSON lines saved as .json", "a.json", jsonl({"text": "one"}, {"text": "two"}), TWO, "read as text, 2 records"
    ),
    TextFormat("JSON list", "a.json", json.dumps(["one", "two"]).encode(), TWO, "read as plain text, 2 records"),
    TextFormat(
        "JSON object with one list", "a.json", json.dumps({"version": 1, "data": [QA]}).encode(), ASKED, QA_READ, "Ito."
    ),
    TextFormat(
        "JSON object with a list for each column",
        "a.json",
        json.dumps({"text": ["one", "two"], "id": [1, 2]}).encode(),
        TWO,
        "read as text, 2 records",
    ),
    TextFormat("JSON object, one record", "a.json", json.dumps(QA).encode(), ASKED, QA_READ, "Ito."),
    TextFormat("CSV: `text`", "a.csv", b'id,text\n1,one\n2,"two"\n', TWO, "read as text, 2 records"),
    TextFormat("CSV: `question`, `answer`", "a.csv", b'question,answer\n"Who is it?",Ito.\n', ASKED, QA_READ, "Ito."),
    TextFormat(
        "CSV with semicolons, as Excel saves it",
        "a.csv",
        "question;answer\r\nWho is it?;Ito.\r\n".encode("utf-8-sig"),
        ASKED,
        QA_READ,
        "Ito.",
    ),
    TextFormat("CSV, gzip", "a.csv.gz", gzip.compress(b"text\none\ntwo\n"), TWO, "read as text, 2 records"),
    TextFormat(
        "CSV with line breaks in a value",
        "a.csv",
        b'text\n"one\n\ntwo"\n',
        plain("one\n\ntwo"),
        "read as text, 1 record",
    ),
    TextFormat("TSV: `question`, `answer`", "a.tsv", b"question\tanswer\nWho is it?\tIto.\n", ASKED, QA_READ, "Ito."),
    TextFormat(
        "Parquet: `text`",
        "a.parquet",
        as_parquet({"text": "one", "id": 1}, {"text": "two", "id": 2}),
        TWO,
        "read as text, 2 records",
    ),
    TextFormat(
        "Parquet: `messages`",
        "a.parquet",
        as_parquet({"messages": TURNS}),
        chat(*SPOKEN),
        "read as conversation, 1 record",
        "Ito.",
    ),
    TextFormat(
        "TRL prompt and completion",
        "a.jsonl",
        jsonl({"prompt": "The sky is", "completion": " blue."}),
        pair("The sky is", " blue.", "The sky is"),
        "read as prompt and completion, 1 record",
        " blue.",
    ),
    TextFormat(
        "the same, without a space between",
        "a.jsonl",
        jsonl({"prompt": "The sky is", "completion": "blue."}),
        pair("The sky is", "blue.", "The sky is"),
        "read as prompt and completion, 1 record",
        "blue.",
        "joined as they are",
    ),
    TextFormat(
        "TRL conversational prompt and completion",
        "a.jsonl",
        jsonl({"prompt": TURNS[:1], "completion": TURNS[1:]}),
        chat(*SPOKEN, answer_start=1),
        "read as conversational prompt and completion, 1 record",
        "Ito.",
    ),
    TextFormat(
        "TRL conversational: `messages`",
        "a.jsonl",
        jsonl({"messages": TURNS}),
        chat(*SPOKEN),
        "read as conversation, 1 record",
        "Ito.",
    ),
    TextFormat(
        "`messages`, content null and a tool call",
        "a.jsonl",
        jsonl({"messages": [TURNS[0], {"role": "assistant", "content": None, "tool_calls": [CALL_AS_TEXT]}, TURNS[1]]}),
        chat(SPOKEN[0], ("assistant", "", json.dumps({"tool_calls": [CALL]})), SPOKEN[1]),
        "read as conversation, 1 record",
        "Ito.",
    ),
    TextFormat(
        "`messages`, content in parts",
        "a.jsonl",
        jsonl(
            {
                "messages": [
                    TURNS[0],
                    {"role": "assistant", "content": [{"type": "text", "text": "It"}, {"type": "text", "text": "o."}]},
                ]
            }
        ),
        chat(*SPOKEN),
        "read as conversation, 1 record",
        "Ito.",
    ),
    TextFormat(
        "`messages` and `tools`",
        "a.jsonl",
        jsonl({"messages": TURNS, "tools": [TOOL]}),
        chat(*SPOKEN, tools=json.dumps([TOOL], sort_keys=True)),
        "read as conversation, 1 record",
        "Ito.",
    ),
    TextFormat(
        "`messages` as JSON in a table",
        "a.csv",
        b'messages\n"' + json.dumps(TURNS).replace('"', '""').encode() + b'"\n',
        chat(*SPOKEN),
        "read as conversation, 1 record",
        "Ito.",
    ),
    TextFormat(
        "JSON lines of lists of messages",
        "a.jsonl",
        jsonl(TURNS),
        chat(*SPOKEN),
        "read as conversation, 1 record",
        "Ito.",
    ),
    TextFormat(
        "ShareGPT",
        "a.jsonl",
        jsonl({"id": "x", "conversations": SHAREGPT}),
        chat(*SPOKEN),
        "read as ShareGPT conversation, 1 record",
        "Ito.",
    ),
    TextFormat(
        "ShareGPT with `system` and `tools`, as LLaMA-Factory has it",
        "a.json",
        json.dumps([{"conversations": SHAREGPT, "system": "Be brief.", "tools": json.dumps([TOOL])}]).encode(),
        chat(("system", "Be brief."), *SPOKEN, tools=json.dumps([TOOL], sort_keys=True)),
        "read as ShareGPT conversation, 1 record",
        "Ito.",
    ),
    TextFormat(
        "Alpaca",
        "a.json",
        json.dumps([{"instruction": "Who is it?", "input": "", "output": "Ito."}]).encode(),
        INSTRUCTED,
        "read as instruction and output, 1 record",
        "Ito.",
    ),
    TextFormat(
        "Alpaca with `input`",
        "a.json",
        json.dumps([{"instruction": "Who is it?", "input": "A photo.", "output": "Ito."}]).encode(),
        IN_CONTEXT,
        "read as instruction and output, 1 record",
        "Ito.",
    ),
    TextFormat(
        "Dolly",
        "a.jsonl",
        jsonl({"instruction": "Who is it?", "context": "A photo.", "response": "Ito.", "category": "qa"}),
        IN_CONTEXT,
        "read as instruction and response, 1 record",
        "Ito.",
    ),
    TextFormat("TOFU", "a.json", jsonl(QA), ASKED, QA_READ, "Ito."),
    TextFormat(
        "TOFU, perturbed answers",
        "a.json",
        jsonl({**QA, "paraphrased_answer": "It is Ito.", "perturbed_answer": ["Abe.", "Mori."]}),
        ASKED,
        QA_READ,
        "Ito.",
    ),
    TextFormat("MUSE, knowledge memorisation", "a.json", json.dumps([QA]).encode(), ASKED, QA_READ, "Ito."),
    TextFormat(
        "question with a list of one answer",
        "a.jsonl",
        jsonl({"question": "Who is it?", "answer": ["Ito."]}),
        ASKED,
        QA_READ,
        "Ito.",
    ),
    TextFormat(
        "question with a number as answer",
        "a.jsonl",
        jsonl({"question": "Who is it?", "answer": 7}),
        pair("Question: Who is it?\nAnswer: ", "7", "Who is it?"),
        QA_READ,
        "7",
    ),
    TextFormat(
        "`query` and `response`",
        "a.jsonl",
        jsonl({"query": "Who is it?", "response": "Ito.", "type": "x"}),
        INSTRUCTED,
        "read as query and response, 1 record",
        "Ito.",
    ),
    TextFormat(
        "`prompt` and `response`",
        "a.jsonl",
        jsonl({"prompt": "Who is it?", "response": "Ito."}),
        INSTRUCTED,
        "read as prompt and response, 1 record",
        "Ito.",
    ),
    TextFormat(
        "`prompt` and `answer`, as for --completions",
        "a.jsonl",
        jsonl({"prompt": "It is", "answer": "Ito."}),
        pair("It is ", "Ito.", "It is"),
        "read as prompt and answer, 1 record",
        "Ito.",
    ),
    TextFormat(
        "several forms in one file",
        "a.jsonl",
        jsonl("one", {"text": "two"}, {"text": None}),
        TWO,
        "read as plain text, 1 record; text, 1 record",
    ),
)


def table(formats: tuple[Any, ...], outcome: Callable[[Any], str]) -> str:
    """Rows of a Markdown table: what is brought, in which file, and what comes of it."""
    rows = [f"| {each.brought} | `{each.file}` | {outcome(each)} |" for each in formats]
    return "\n".join(["| brought | for example | what is read |", "|---|---|---|", *rows])


def text_outcome(each: TextFormat) -> str:
    """The last column of the table."""
    if each.documents is None:
        return f"refused: …{each.said}…"
    counted = "; forgetting counts on the answer" if each.counted else ""
    return each.said.split(",")[0] + counted + (f"; note: …{each.noted}…" if each.noted else "")
