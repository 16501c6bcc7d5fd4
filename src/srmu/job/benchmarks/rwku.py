"""The work of `srmu benchmark rwku`: a model on the sets of RWKU that are at hand."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from srmu.errors import InputError
from srmu.evaluation.benchmarks.rwku import LONG, NEW_TOKENS, SetScores, check_packages, estimate_seconds, score_rwku
from srmu.evaluation.benchmarks.rwku_data import RwkuData, read_rwku
from srmu.evaluation.benchmarks.rwku_words import MISSING_WORDS, words_are_known
from srmu.evaluation.model_pair import LoadedModel
from srmu.job.benchmarks.common import ComputeOptions, duration, find_model, keep, measured
from srmu.results.benchmarks.records import Benchmarks
from srmu.results.benchmarks.rwku import ALL_SUBJECTS, RwkuAsked, RwkuKind, RwkuMembership, RwkuResult, RwkuSet
from srmu.runtime.progress import Reporter
from srmu.surgery.whole_model import rows_at_once

BATCH_ROWS = 32
_FLUENCY = "utility_fluency"


def benchmark_rwku(
    model: str,
    *,
    data: str | Path,
    subject: str | None = None,
    sets: Sequence[str] | None = None,
    limit: int | None = None,
    plain: bool = False,
    compute: ComputeOptions | None = None,
    reporter: Reporter | None = None,
) -> RwkuResult:
    """Measure a model on RWKU; a set that is not at hand is named in the result, with the reason.

    Args:
        model: Checkpoint directory, hub id, or a finished run directory, which then keeps the result.
        data: Folder of RWKU's files, or `hub`.
        subject: The person who was to be forgotten; None = all in the files.
        sets: Sets that must be there and alone are measured; None = those that are there.
        limit: Most items of each set.
        plain: Ask without a chat template, as of a base model; the authors always use one.
        compute: Device, precision and memory.
        reporter: Hears of stages, progress and the estimate.

    Raises:
        InputError: Anything asked for is wrong.
    """
    compute, reporter = compute or ComputeOptions(), reporter or Reporter()
    questions = read_rwku(data, subject=subject, sets=sets, limit=limit)
    questions = _without_unknown_words(questions, sets)
    check_packages(tuple(questions.sets))
    pair = find_model(model, compute)

    def judge(judged: LoadedModel) -> Mapping[str, SetScores]:
        if not plain and not judged.tokenizer.chat_template:
            raise InputError(
                f"The tokenizer of {str(pair.model)!r} has no chat template, and RWKU asks in one. Give --plain to ask "
                "without; the numbers are then not those of the paper's models."
            )
        rows = rows_at_once(judged.model, LONG + 1024, BATCH_ROWS)
        seconds = estimate_seconds(judged.model, judged.tokenizer, questions, chat=not plain, batch_rows=rows)
        answers = sum(len(items) for name, items in questions.sets.items() if name in NEW_TOKENS)
        reporter.note(
            f"{questions.num_items:,} items: at most {duration(seconds)} to write {answers:,} answers; the rest is "
            "scored"
        )
        return score_rwku(
            judged.model, judged.tokenizer, questions, chat=not plain, batch_rows=rows, reporter=reporter
        )  # fmt: skip

    scores = measured(pair.model, compute, judge)
    asked = RwkuAsked(data=Path(data).name, data_sha256=dict(questions.sha256), limit=limit, chat=not plain)
    result = _result(subject or ALL_SUBJECTS, str(pair.model), asked, scores, questions.missing)
    keep(pair, Benchmarks(rwku={result.subject: result}))
    return result


def _without_unknown_words(questions: RwkuData, sets: Sequence[str] | None) -> RwkuData:
    """Without fluency, where its words cannot be told."""
    if _FLUENCY not in questions.sets or words_are_known():
        return questions
    if sets is not None:
        raise InputError(f"The set {_FLUENCY!r} was asked for, and {MISSING_WORDS}.")
    kept = {name: items for name, items in questions.sets.items() if name != _FLUENCY}
    if not kept:
        raise InputError(f"Nothing of RWKU can be measured: {MISSING_WORDS}.")
    return dataclasses.replace(questions, sets=kept, missing={**questions.missing, _FLUENCY: MISSING_WORDS})


def _result(
    subject: str, model: str, asked: RwkuAsked, scores: Mapping[str, SetScores], missing: Mapping[str, str]
) -> RwkuResult:
    def part(prefix: str) -> dict[str, RwkuSet]:
        found = {name.removeprefix(prefix): one for name, one in scores.items() if name.startswith(prefix)}
        return {
            name: RwkuSet(
                n=len(one.values),
                score=one.mean,
                kinds={kind: RwkuKind(n=n, score=score) for kind, (n, score) in one.by_kind().items()},
            )
            for name, one in found.items()
        }

    members = {name.removeprefix("mia_"): one for name, one in scores.items() if name.startswith("mia_")}
    return RwkuResult(
        subject=subject,
        model=model,
        asked=asked,
        forget=part("forget_"),
        neighbor=part("neighbor_"),
        membership={
            name: RwkuMembership(
                n=len(one.values), loss=one.mean, **{key: float(values.mean()) for key, values in one.others.items()}
            )
            for name, one in members.items()
        },
        utility=part("utility_"),
        missing=dict(missing),
    )
