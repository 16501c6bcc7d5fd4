"""The same questions through lm-evaluation-harness itself: a task for each subject, as its own files define it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srmu.evaluation.benchmarks.wmdp import LETTERS, PartScores, description_of
from srmu.evaluation.benchmarks.wmdp_data import PARTS, WmdpData, WmdpQuestion
from srmu.evaluation.harness import run_tasks
from srmu.inputs.harness_tasks import define_tasks
from srmu.runtime.progress import Reporter

BATCH_ROWS = 8
# Of lm_eval/tasks/wmdp/_default_template_yaml and mmlu/default/_default_template_yaml at version 0.4.13, and of
# wmdp_bio_cloze_verified, which the harness does not ship.
_LETTERED = "{{question.strip()}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}\nAnswer:"
_CLOZE = "Question: {{question.strip()}}\nAnswer:"


def score_wmdp_by_harness(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, data: WmdpData, *, reporter: Reporter
) -> dict[str, PartScores]:
    """What `score_wmdp` measures, by the harness's own `simple_evaluate`.

    Raises:
        InputError: The harness is not installed, or cannot run the questions.
    """
    found = {}
    for part, questions in data.parts.items():
        subjects = list(dict.fromkeys(question.subject for question in questions))
        groups = {subject: [entry for entry in questions if entry.subject == subject] for subject in subjects}
        names = {subject: f"{PARTS[part].file}_{number}" for number, subject in enumerate(subjects)}
        metric = "acc_norm" if PARTS[part].form == "answers" else "acc"
        with reporter.task(f"WMDP through lm-evaluation-harness: {part}") as progress:
            tasks = define_tasks([_task(names[subject], part, groups[subject]) for subject in subjects])
            scores = run_tasks(model, tokenizer, tasks, batch_size=BATCH_ROWS)
            progress(1, 1)
        right = np.concatenate([scores[names[subject]].items[f"{metric},none"] for subject in subjects])
        found[part] = PartScores(right=right.astype(bool), subjects=tuple(entry.subject for entry in questions))
    return found


def _task(name: str, part: str, questions: Sequence[WmdpQuestion]) -> dict[str, Any]:
    """One task as the harness's files define it, on these questions."""
    rows = [{"question": entry.question, "choices": list(entry.choices), "answer": entry.answer} for entry in questions]

    def dataset(**_: Any) -> dict[str, Any]:
        import datasets

        return {"test": datasets.Dataset.from_list(rows)}

    cloze = PARTS[part].form == "answers"
    return {
        "task": name,
        "custom_dataset": dataset,
        "test_split": "test",
        "num_fewshot": 0,
        "output_type": "multiple_choice",
        "description": description_of(part, questions[0].subject),
        "doc_to_text": _CLOZE if cloze else _LETTERED,
        "doc_to_choice": "{{choices}}" if cloze else list(LETTERS),
        "doc_to_target": "answer",
        "metric_list": [{"metric": "acc_norm" if cloze else "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1},
    }
