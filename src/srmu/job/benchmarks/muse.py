"""The work of `srmu benchmark muse`: a model on one corpus, beside a retrained model where there is one."""

from collections.abc import Sequence
from pathlib import Path

from srmu.errors import InputError
from srmu.evaluation.benchmarks import muse_metrics as metrics
from srmu.evaluation.benchmarks.muse import (
    ANSWER_TOKENS,
    VERBATIM_TOKENS,
    MuseScores,
    estimate_seconds,
    score_knowledge,
    score_membership,
    score_muse,
)
from srmu.evaluation.benchmarks.muse_data import FOLDS, MuseData, read_muse
from srmu.evaluation.model_pair import LoadedModel, resolve_pair
from srmu.evaluation.rouge import rouge_l_scorer
from srmu.job.benchmarks.common import ComputeOptions, duration, find_model, keep, measured
from srmu.results.benchmarks.muse import MuseAsked, MuseGoldResult, MuseResult
from srmu.results.benchmarks.records import Benchmarks, read_benchmarks
from srmu.runtime.progress import Reporter
from srmu.surgery.whole_model import rows_at_once

BATCH_ROWS = 32
# Tokens of the ten examples and a question, roughly, where rows are few because the model does not fit in memory.
_PROMPT_TOKENS = 640


def benchmark_muse(
    model: str,
    *,
    corpus: str,
    data: str | Path | None = None,
    gold: str | None = None,
    scaling: Sequence[str] = (),
    sustainability: Sequence[str] = (),
    limit: int | None = None,
    compute: ComputeOptions | None = None,
    reporter: Reporter | None = None,
) -> MuseResult:
    """Measure a model on one corpus of MUSE; everything but privacy leakage needs this model alone.

    Args:
        model: Checkpoint directory, hub id, or a finished run directory, which then keeps the result.
        corpus: `news` or `books`.
        data: Folder of MUSE's parts, or `hub:NAME`; None = the authors' data set.
        gold: The model retrained without the forget texts (checkpoint directory, hub id, run directory), or the JSON
            file of its own result.
        scaling: Models that forgot the growing forget sets `scal/forget_1` to `forget_4`, in this order.
        sustainability: Models after the requests `sust/forget_1` to `forget_4`, in this order.
        limit: Most items of each part.
        compute: Device, precision and memory.
        reporter: Hears of stages, progress and the estimate.

    Raises:
        InputError: Anything asked for is wrong; also a retrained model's file that was measured in another way.
    """
    compute, reporter = compute or ComputeOptions(), reporter or Reporter()
    series = {"scaling": tuple(scaling), "sustainability": tuple(sustainability)}
    _check_series(series, corpus)
    texts = read_muse(data, corpus, limit=limit)
    rouge_l_scorer()  # says now if the package is missing
    asked = _asked(texts)
    pair = find_model(model, compute)
    gold_auc = None if gold is None else _find_gold(gold, corpus, asked)
    folds = {name: [resolve_pair(each).model for each in models] for name, models in series.items()}

    def judge(judged: LoadedModel) -> MuseScores:
        rows = _rows(judged)
        _say_estimate(judged, texts, rows, reporter)
        return score_muse(judged.model, judged.tokenizer, texts, batch_rows=rows, reporter=reporter)

    def judge_fold(judged: LoadedModel) -> float:
        return score_knowledge(
            judged.model, judged.tokenizer, texts.retain, texts.retain_examples,
            title="MUSE: retain questions", batch_rows=_rows(judged), reporter=reporter,
        )  # fmt: skip

    scores = measured(pair.model, compute, judge)
    if isinstance(gold_auc, Path):
        gold_auc = measured(
            gold_auc, compute,
            lambda standard: score_membership(standard.model, standard.tokenizer, texts, reporter=reporter),
        )  # fmt: skip
    utilities = {name: tuple(measured(path, compute, judge_fold) for path in paths) for name, paths in folds.items()}
    result = _result(str(pair.model), asked, texts, scores, str(gold), gold_auc, utilities)
    keep(pair, Benchmarks(muse={corpus: result}))
    return result


def _check_series(series: dict[str, tuple[str, ...]], corpus: str) -> None:
    for name, models in series.items():
        if models and corpus == "books":
            raise InputError(f"{name} was asked for on books, and only MUSE-News has forget sets for it. Leave it out.")
        if len(models) > FOLDS:
            raise InputError(f"{name} was given {len(models)} models, and MUSE has {FOLDS} forget sets for it.")


def _asked(texts: MuseData) -> MuseAsked:
    return MuseAsked(
        limit=texts.limit,
        items={
            "verbmem/forget": len(texts.verbatim.asked),
            "knowmem/forget_qa": len(texts.forget.asked),
            "knowmem/retain_qa": len(texts.retain.asked),
            "privleak/forget": len(texts.members),
            "privleak/holdout": len(texts.holdout),
        },
        data_sha256=texts.sha256,
    )


def _find_gold(gold: str, corpus: str, asked: MuseAsked) -> Path | float:
    """The checkpoint of the retrained model, or the AUC that the file of its own result names.

    Raises:
        InputError: It is of another corpus, or was measured on other texts.
    """
    if not (Path(gold).is_file() and Path(gold).suffix == ".json"):
        return resolve_pair(gold).model
    corpora = read_benchmarks(Path(gold)).muse
    if corpus not in corpora:
        raise InputError(
            f"--gold {gold!r} holds results on {', '.join(corpora) or 'nothing of MUSE'}, and {corpus} was asked for. "
            "Give the result of the model retrained without that corpus's forget texts."
        )
    theirs = corpora[corpus].asked
    parts = ("privleak/forget", "privleak/holdout")
    same = all(theirs.data_sha256.get(part) == asked.data_sha256[part] for part in parts)
    if theirs.limit != asked.limit or not same:
        raise InputError(
            f"--gold {gold!r} was measured with {'other texts' if not same else 'another limit'}. Measure it again as "
            "this model is measured, or give the model itself."
        )
    return corpora[corpus].auc


def _rows(judged: LoadedModel) -> int:
    return rows_at_once(judged.model, _PROMPT_TOKENS + VERBATIM_TOKENS, BATCH_ROWS)


def _say_estimate(judged: LoadedModel, texts: MuseData, rows: int, reporter: Reporter) -> None:
    reading, writing = estimate_seconds(judged.model, judged.tokenizer, texts, batch_rows=rows)
    questions = len(texts.forget.asked) + len(texts.retain.asked)
    reporter.note(
        f"MUSE {texts.corpus}: about {duration(reading)} to read {len(texts.members) + len(texts.holdout)} texts, and "
        f"at most {duration(writing)} to continue {len(texts.verbatim.asked)} by {VERBATIM_TOKENS} tokens and to "
        f"answer {questions} questions in up to {ANSWER_TOKENS}"
    )


def _result(
    model: str, asked: MuseAsked, texts: MuseData, scores: MuseScores, gold: str, gold_auc: float | None,
    utilities: dict[str, tuple[float, ...]],
) -> MuseResult:  # fmt: skip
    compared = None
    if gold_auc is not None:
        leakage = metrics.privacy_leakage(scores.auc, gold_auc)
        compared = MuseGoldResult(model=gold, auc=gold_auc, privacy_leakage=leakage)
    return MuseResult(
        corpus=texts.corpus, model=model, asked=asked,
        verbatim_memorization=scores.verbatim_memorization, knowledge_memorization=scores.knowledge_memorization,
        utility=scores.utility, auc=scores.auc, gold=compared, **utilities,
    )  # fmt: skip
