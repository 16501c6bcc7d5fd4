"""What people bring as texts and is refused: formats that say too little or too much, and broken files."""

import gzip

from inputs.text_formats import TURNS, TextFormat, jsonl

CHOICES = {"question": "Who is it?", "choices": ["Ito", "Abe"], "answer": 0}
IMAGE = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Who is it?"}]}
REFUSED = (
    TextFormat(
        "Alpaca with `text` beside",
        "a.jsonl",
        jsonl({"instruction": "a", "input": "", "output": "b", "text": "c"}),
        None,
        "can be read as text or as instruction and output. Choose one: --text-field text or --text-field",
    ),
    TextFormat(
        "`messages` with `text` beside",
        "a.jsonl",
        jsonl({"messages": TURNS, "text": "x"}),
        None,
        "can be read as text or as conversation. Choose one: --text-field text or --text-field messages",
    ),
    TextFormat(
        "TRL preference",
        "a.jsonl",
        jsonl({"prompt": "a", "chosen": "b", "rejected": "c"}),
        None,
        "a preference can be read as its 'chosen' or as its 'rejected' answer. Choose one: --text-field chosen",
    ),
    TextFormat(
        "TRL unpaired preference",
        "a.jsonl",
        jsonl({"prompt": "a", "completion": "b", "label": False}),
        None,
        "the field 'label' says whether a completion is good",
    ),
    TextFormat(
        "TRL prompt only", "a.jsonl", jsonl({"prompt": "a"}), None, "field 'text' is missing; there is 'prompt'"
    ),
    TextFormat(
        "multiple-choice questions",
        "a.jsonl",
        jsonl(CHOICES),
        None,
        "makes this a multiple-choice question, not a text. Give the file with --questions",
    ),
    TextFormat(
        "multiple-choice questions in a table",
        "a.csv",
        b"question,A,B,answer\nWho?,Ito,Abe,A\n",
        None,
        "the field 'A' makes this a multiple-choice question",
    ),
    TextFormat(
        "question with several answers",
        "a.jsonl",
        jsonl({"question": "Who?", "answer": ["Ito", "Abe"]}),
        None,
        "found a list of 2 in the field 'answer'",
    ),
    TextFormat(
        "questions without answers",
        "a.jsonl",
        jsonl({"question": "Who?", "answer": None}),
        None,
        "hold no text: the only document is empty",
    ),
    TextFormat(
        "`messages` with images",
        "a.jsonl",
        jsonl({"messages": [IMAGE]}),
        None,
        "a part of a message is 'image', and srmu reads text only",
    ),
    TextFormat(
        "ShareGPT with an unknown speaker",
        "a.jsonl",
        jsonl({"conversations": [{"from": "narrator", "value": "x"}]}),
        None,
        "a message is from 'narrator'. Write one of human",
    ),
    TextFormat(
        "message without content",
        "a.jsonl",
        jsonl({"messages": [{"role": "user"}]}),
        None,
        "a message has no 'content' that is text; it has 'role'",
    ),
    TextFormat(
        "other field names",
        "a.jsonl",
        jsonl({"title": "a", "body": "b"}),
        None,
        "field 'text' is missing; there is 'title', 'body'. Name the field with --text-field",
    ),
    TextFormat(
        "CSV without a header", "a.csv", b"one,1\ntwo,2\n", None, "field 'text' is missing; there is 'one', '1'"
    ),
    TextFormat(
        "CSV with a value too many",
        "a.csv",
        b"question,answer\nWho, me?,Ito\n",
        None,
        "line 2: 3 values, and the first row names 2 columns",
    ),
    TextFormat("CSV with an open quotation mark", "a.csv", b'text\n"one\n', None, "malformed table"),
    TextFormat("JSON lines, cut short", "a.jsonl", b'{"text": "one"}\n{"text": "tw', None, "line 2: not JSON"),
    TextFormat(
        "JSON object with several lists",
        "a.json",
        b'{"train": [1], "test": [2]}',
        None,
        "an object with 2 lists, expected one",
    ),
    TextFormat(
        "gzip, cut short", "a.jsonl.gz", gzip.compress(jsonl({"text": "one"}))[:-9], None, "not a whole gzip file"
    ),
    TextFormat("zstd, damaged", "a.jsonl.zst", b"(\xb5/\xfd" + b"damaged", None, "not a whole zstd file"),
    TextFormat("Parquet, damaged", "a.parquet", b"PAR1 not really", None, "not a whole Parquet file"),
    TextFormat(
        "another encoding",
        "a.txt",
        "café".encode("latin-1"),
        None,
        "not UTF-8 text (byte 0xe9 at position 3). Save the file as UTF-8",
    ),
    TextFormat(
        "UTF-16 without a mark", "a.txt", "one".encode("utf-16-le"), None, "binary data (a zero byte at position 1)"
    ),
    TextFormat(
        "half a surrogate pair", "a.jsonl", b'{"text": "a\\ud800"}', None, "character 1 is half a surrogate pair"
    ),
    TextFormat(
        "one text of 5 MB",
        "a.jsonl",
        b'{"text": "' + b"x" * 5_000_000 + b'"}',
        None,
        "a text has 5,000,000 characters, more than the 4,000,000",
    ),
    TextFormat(
        "a gzip file that unpacks to 1000 times its size",
        "a.txt.gz",
        gzip.compress(bytes(1 << 26)),
        None,
        "unpacks to more than 100 times its size",
    ),
    TextFormat("Word document", "a.docx", b"PK", None, "unknown kind of file '.docx'"),
)
