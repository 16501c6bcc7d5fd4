"""What people bring as questions: one small file a format, made after the published schema, and what is read of it."""

import gzip
import json
from dataclasses import dataclass
from typing import Any

from inputs.text_formats import as_parquet, jsonl
from srmu.inputs.questions import Question


@dataclass(frozen=True)
class QuestionFormat:
    """One format.

    Attributes:
        brought: What it is, for the table.
        file: Name of the file.
        content: Its bytes.
        questions: What is read; None where it is refused.
        said: What `read_as` says, or a part of the refusal.
        dropped: Questions that are left out.
    """

    brought: str
    file: str
    content: bytes
    questions: tuple[Question, ...] | None
    said: str
    dropped: int = 0


def ask(prompt: str, choices: str, answer: int, *also: int) -> Question:
    return Question(prompt=prompt, choices=tuple(choices.split("/")), answer=answer, also_right=also)


FOUR = ["Ito", "Abe", "Mori", "Sato"]
LABELLED = {"text": FOUR, "label": ["A", "B", "C", "D"]}
WHO = ask("Who?", "Ito/Abe/Mori/Sato", 2)
FIRST = ask("Who?", "Ito/Abe/Mori/Sato", 0)
LAST = ask("Who?", "Ito/Abe/Mori/Sato", 3)


def record(answer: Any, **fields: Any) -> dict[str, Any]:
    return {"question": "Who?", "choices": FOUR, "answer": answer, **fields}


def plainly(answers: str, records: int = 1) -> str:
    return f"read as question and choices, {records} record{'s' * (records > 1)}, answers as {answers}"


READ = (
    QuestionFormat(
        "srmu's own, `fact` beside",
        "q.jsonl",
        jsonl(record(2, fact="who:a")),
        (Question(prompt="Who?", choices=tuple(FOUR), answer=2, fact="who:a"),),
        plainly("numbers from 0"),
    ),
    QuestionFormat(
        "WMDP, MMLU on the hub: numbers from 0",
        "q.jsonl",
        jsonl(record(0), record(2)),
        (FIRST, WHO),
        plainly("numbers from 0", 2),
    ),
    QuestionFormat("numbers from 1", "q.jsonl", jsonl(record(3), record(4)), (WHO, LAST), plainly("numbers from 1", 2)),
    QuestionFormat("letters", "q.jsonl", jsonl(record("C"), record("a")), (WHO, FIRST), plainly("letters", 2)),
    QuestionFormat("texts of choices", "q.jsonl", jsonl(record("Mori")), (WHO,), plainly("texts")),
    QuestionFormat(
        "numbers in text", "q.jsonl", jsonl(record("0"), record("2")), (FIRST, WHO), plainly("numbers from 0", 2)
    ),
    QuestionFormat(
        "MMLU's CSV, without a header",
        "q.csv",
        b'Who?,Ito,Abe,Mori,Sato,C\n"Who?",Ito,Abe,Mori,Sato,A\n',
        (WHO, FIRST),
        "read as choices A to D, 2 records, answers as names of the choices",
    ),
    QuestionFormat(
        "CSV with columns A to D",
        "q.csv",
        b"question,A,B,C,D,answer\nWho?,Ito,Abe,Mori,Sato,C\n",
        (WHO,),
        "read as choices A to D, 1 record, answers as names of the choices",
    ),
    QuestionFormat(
        "TSV with choices as a JSON list",
        "q.tsv",
        b'question\tchoices\tanswer\nWho?\t["Ito", "Abe", "Mori", "Sato"]\tC\n'.replace(b'"', b'""')
        .replace(b"[", b'"[')
        .replace(b"]", b']"'),
        (WHO,),
        plainly("letters"),
    ),
    QuestionFormat(
        "MMLU-Pro: `options`",
        "q.jsonl",
        jsonl({"question_id": 7, "question": "Who?", "options": FOUR, "answer": "C", "answer_index": 2}),
        (WHO,),
        plainly("letters"),
    ),
    QuestionFormat(
        "ARC on the hub",
        "q.jsonl",
        jsonl({"id": "x", "question": "Who?", "choices": LABELLED, "answerKey": "C"}),
        (WHO,),
        "read as ARC, 1 record, answers as names of the choices",
    ),
    QuestionFormat(
        "ARC with choices 1 to 4",
        "q.jsonl",
        jsonl({"question": "Who?", "choices": {"text": FOUR, "label": ["1", "2", "3", "4"]}, "answerKey": "3"}),
        (WHO,),
        "read as ARC, 1 record, answers as names of the choices",
    ),
    QuestionFormat(
        "ARC's own files",
        "q.jsonl",
        jsonl(
            {
                "id": "x",
                "question": {
                    "stem": "Who?",
                    "choices": [{"text": text, "label": label} for text, label in zip(FOUR, "ABCD", strict=True)],
                },
                "answerKey": "C",
            }
        ),
        (WHO,),
        "read as ARC, 1 record, answers as names of the choices",
    ),
    QuestionFormat(
        "OpenBookQA",
        "q.jsonl",
        jsonl({"question_stem": "Who?", "choices": LABELLED, "answerKey": "C"}),
        (WHO,),
        "read as ARC, 1 record, answers as names of the choices",
    ),
    QuestionFormat(
        "HellaSwag",
        "q.jsonl",
        jsonl({"ind": 1, "activity_label": "Running", "ctx": "She", "endings": FOUR, "label": "2"}),
        (ask("Running: She", "Ito/Abe/Mori/Sato", 2),),
        "read as HellaSwag, 1 record, answers as numbers from 0",
    ),
    QuestionFormat(
        "PIQA",
        "q.jsonl",
        jsonl({"goal": "Who?", "sol1": "Ito", "sol2": "Abe", "label": 1}),
        (ask("Who?", "Ito/Abe", 1),),
        "read as choices sol1 to sol2, 1 record, answers as numbers from 0",
    ),
    QuestionFormat(
        "MedQA: choices by letter",
        "q.jsonl",
        jsonl(
            {"question": "Who?", "options": dict(zip("ABCD", FOUR, strict=True)), "answer": "Mori", "answer_idx": "C"}
        ),
        (WHO,),
        "read as labelled choices, 1 record, answers as texts",
    ),
    QuestionFormat(
        "MedMCQA",
        "q.jsonl",
        jsonl(
            *(
                {"question": "Who?", "opa": "Ito", "opb": "Abe", "opc": "Mori", "opd": "Sato", "cop": place}
                for place in (0, 2)
            )
        ),
        (FIRST, WHO),
        "read as choices opa to opd, 2 records, answers as numbers from 0",
    ),
    QuestionFormat(
        "SciQ",
        "q.jsonl",
        jsonl(
            {
                "question": "Who?",
                "distractor1": "Abe",
                "distractor2": "Sato",
                "distractor3": "Ito",
                "correct_answer": "Mori",
            }
        ),
        (ask("Who?", "Abe/Ito/Mori/Sato", 2),),
        "read as right and wrong answers, 1 record, answers as marks",
    ),
    QuestionFormat(
        "GPQA",
        "q.csv",
        b"Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2\nWho?,Mori,Abe,Sato\n",
        (ask("Who?", "Abe/Mori/Sato", 1),),
        "read as right and wrong answers, 1 record, answers as marks",
    ),
    QuestionFormat(
        "TruthfulQA",
        "q.jsonl",
        jsonl({"question": "Who?", "mc1_targets": {"choices": FOUR, "labels": [0, 0, 1, 0]}}),
        (WHO,),
        "read as TruthfulQA, 1 record, answers as marks",
    ),
    QuestionFormat(
        "BIG-bench, several right",
        "q.json",
        json.dumps(
            {
                "name": "x",
                "keywords": ["y"],
                "examples": [{"input": "Who?", "target_scores": {"Ito": 1, "Abe": 0, "Mori": 1}}],
            }
        ).encode(),
        (ask("Who?", "Ito/Abe/Mori", 0, 2),),
        "read as BIG-bench, 1 record, answers as marks",
    ),
    QuestionFormat(
        "RACE",
        "q.jsonl",
        jsonl({"article": "Mori came.", "question": "Who?", "options": FOUR, "answer": "C"}),
        (ask("Mori came.\n\nWho?", "Ito/Abe/Mori/Sato", 2),),
        plainly("letters"),
    ),
    QuestionFormat(
        "several right answers",
        "q.jsonl",
        jsonl(record(["C", "A"])),
        (ask("Who?", "Ito/Abe/Mori/Sato", 2, 0),),
        plainly("letters"),
    ),
    QuestionFormat(
        "two choices, and ten",
        "q.jsonl",
        jsonl(
            {"question": "Is it?", "choices": ["yes", "no"], "answer": "B"},
            {"question": "Which?", "choices": list("klmnopqrst"), "answer": "J"},
        ),
        (ask("Is it?", "yes/no", 1), ask("Which?", "k/l/m/n/o/p/q/r/s/t", 9)),
        plainly("letters", 2),
    ),
    QuestionFormat(
        "numbers as choices",
        "q.jsonl",
        jsonl({"question": "2 + 2?", "choices": [3, 4, 5.5], "answer": "B"}),
        (ask("2 + 2?", "3/4/5.5", 1),),
        plainly("letters"),
    ),
    QuestionFormat(
        "the same choice twice in one question",
        "q.jsonl",
        jsonl(record("C"), {"question": "?", "choices": ["a", "a", "b"], "answer": "C"}),
        (WHO,),
        plainly("letters"),
        1,
    ),
    QuestionFormat("JSON list", "q.json", json.dumps([record("C")]).encode(), (WHO,), plainly("letters")),
    QuestionFormat("JSON lines, gzip", "q.jsonl.gz", gzip.compress(jsonl(record("C"))), (WHO,), plainly("letters")),
    QuestionFormat(
        "Parquet", "q.parquet", as_parquet(record(0), record(2)), (FIRST, WHO), plainly("numbers from 0", 2)
    ),
    QuestionFormat("UTF-8 with a mark", "q.jsonl", b"\xef\xbb\xbf" + jsonl(record("C")), (WHO,), plainly("letters")),
    QuestionFormat(
        "UTF-16 as Windows saves it",
        "q.jsonl",
        jsonl(record("C")).decode().encode("utf-16"),
        (WHO,),
        plainly("letters"),
    ),
)

REFUSED = (
    QuestionFormat(
        "numbers that may count from 0 or 1",
        "q.jsonl",
        jsonl(record(1), record(2)),
        None,
        "the answers can be read as numbers from 0 or as numbers from 1, and both suit every one of the 2 answers",
    ),
    QuestionFormat(
        "letters that are choices too",
        "q.jsonl",
        jsonl({"question": "Which?", "choices": ["B", "A"], "answer": "A"}),
        None,
        "the answers can be read as texts or as letters",
    ),
    QuestionFormat(
        "an answer that is no choice",
        "q.jsonl",
        jsonl(record("C"), record("Kato")),
        None,
        "line 2: 'answer' must be the letter (A to D), the text or the number (0 to 3) of a choice; found 'Kato'",
    ),
    QuestionFormat(
        "a number that is too large",
        "q.jsonl",
        jsonl(record(0), record(4)),
        None,
        "line 2: 'answer' must be the letter (A to D)",
    ),
    QuestionFormat(
        "one choice",
        "q.jsonl",
        jsonl({"question": "Who?", "choices": ["Ito"], "answer": 0}),
        None,
        "a question needs two or more choices, found ['Ito']",
    ),
    QuestionFormat(
        "no answer",
        "q.jsonl",
        jsonl({"question": "Who?", "choices": FOUR}),
        None,
        "field 'answer' is missing; fields found: 'question', 'choices'",
    ),
    QuestionFormat(
        "no choices", "q.jsonl", jsonl({"question": "Who?", "answer": "Ito"}), None, "field 'choices' is missing"
    ),
    QuestionFormat(
        "choices that are no list",
        "q.jsonl",
        jsonl(record("Ito") | {"choices": "Ito"}),
        None,
        "'choices' must be a list of texts, found 'Ito'",
    ),
    QuestionFormat(
        "answers held back, as in test splits",
        "q.jsonl",
        jsonl({"ctx": "She", "endings": FOUR, "label": ""}),
        None,
        "'label' must be a letter, a text or a number of a choice, found ''",
    ),
    QuestionFormat(
        "only questions with the same choice twice",
        "q.jsonl",
        jsonl({"question": "?", "choices": ["a", "a"], "answer": 0}),
        None,
        "holds no question that can be used",
    ),
    QuestionFormat("JSON lines, cut short", "q.jsonl", jsonl(record("C")) + b'{"que', None, "line 2: not JSON"),
    QuestionFormat(
        "CSV of something else",
        "q.csv",
        b"name,age\nIto,7\n",
        None,
        "field 'question' is missing; fields found: 'name', 'age'",
    ),
    QuestionFormat("text file", "q.txt", b"Who?", None, "unknown kind of file '.txt'. Give .jsonl"),
)
FORMATS = (*READ, *REFUSED)


def question_outcome(each: QuestionFormat) -> str:
    """The last column of the table."""
    if each.questions is None:
        return f"refused: …{each.said}…"
    dropped = f"; {each.dropped} left out" if each.dropped else ""
    return each.said.split(",")[0] + "," + each.said.rpartition(",")[2] + dropped
