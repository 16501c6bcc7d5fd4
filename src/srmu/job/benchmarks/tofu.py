"""The work of `srmu benchmark tofu`: a model on one split, beside a gold standard where there is one."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from srmu.errors import InputError
from srmu.evaluation.benchmarks import tofu_metrics as metrics
from srmu.evaluation.benchmarks.tofu import (
    GoldScores,
    TofuScores,
    estimate_seconds,
    score_gold,
    score_tofu,
    set_result,
)
from srmu.evaluation.benchmarks.tofu_data import RETRAINED_ON, TofuData, read_tofu
from srmu.evaluation.benchmarks.tofu_formats import format_leakage
from srmu.evaluation.benchmarks.tofu_prompt import TofuPrompt
from srmu.evaluation.model_pair import LoadedModel, resolve_pair
from srmu.job.benchmarks.common import ComputeOptions, duration, find_model, keep, measured
from srmu.job.benchmarks.depth import DepthMeasure, DepthOptions
from srmu.results.benchmarks.records import Benchmarks, read_benchmarks
from srmu.results.benchmarks.tofu import TofuAsked, TofuDepthResult, TofuGoldResult, TofuResult
from srmu.runtime.progress import Reporter
from srmu.surgery.whole_model import rows_at_once

RECIPE_FILE = "tofu_recipe.json"
"""Beside a model that was trained on TOFU by a recipe; its `data` names the part, such as `retain90`."""
BATCH_ROWS = 32


def benchmark_tofu(
    model: str,
    *,
    split: str,
    data: str | Path,
    gold: str | None = None,
    depth: DepthOptions | None = None,
    limit: int | None = None,
    prompt: TofuPrompt | None = None,
    max_new_tokens: int = 200,
    compute: ComputeOptions | None = None,
    reporter: Reporter | None = None,
) -> TofuResult:
    """Measure a model on one split of TOFU; what compares it with a retrained model needs `gold`.

    Args:
        model: Checkpoint directory, hub id, or a finished run directory, which then keeps the result.
        split: `forget01`, `forget05` or `forget10`.
        data: Folder of TOFU's JSONL files.
        gold: The model retrained without the forget set (checkpoint directory, hub id, run directory), or the JSON
            file of its own result.
        depth: Measure the unlearning depth score, too; it needs the retrained model itself, and the base.
        limit: Most questions of each set.
        prompt: How questions are put.
        max_new_tokens: Most tokens of a written answer.
        compute: Device, precision and memory.
        reporter: Hears of stages, progress and the estimate.

    Raises:
        InputError: Anything asked for is wrong; also a gold standard of another split, or measured in another way.
    """
    prompt, compute, reporter = prompt or TofuPrompt(), compute or ComputeOptions(), reporter or Reporter()
    if max_new_tokens < 1:
        raise InputError(f"max_new_tokens={max_new_tokens!r} leaves no room for an answer. Give 1 or more.")
    questions = read_tofu(data, split, limit=limit)
    metrics.check_packages(gold=gold is not None)
    asked = _asked(questions, prompt, max_new_tokens)
    pair = find_model(model, compute, base=None if depth is None else depth.base)
    known = None if gold is None else _find_gold(gold, split, asked)
    measure = None if depth is None else DepthMeasure(depth, pair, known, questions, prompt, compute, reporter)

    def judge(judged: LoadedModel) -> TofuScores:
        rows = rows_at_once(judged.model, max_new_tokens + 256, BATCH_ROWS)
        _say_estimate(judged, questions, prompt, max_new_tokens, rows, depth is not None, reporter)
        return score_tofu(
            judged.model, judged.tokenizer, questions,
            prompt=prompt, max_new_tokens=max_new_tokens, batch_rows=rows, reporter=reporter,
        )  # fmt: skip

    def judge_gold(standard: LoadedModel) -> GoldScores:
        return score_gold(standard.model, standard.tokenizer, questions, prompt=prompt, reporter=reporter)

    scores = measured(pair.model, compute, judge)
    if isinstance(known, Path):
        known = measured(known, compute, judge_gold)
    _warn_of_gold(known, split, reporter)
    found = None if measure is None else measure.result()
    result = _result(str(pair.model), asked, split, scores, str(gold), known, found)
    keep(pair, Benchmarks(tofu={split: result}))
    return result


def _asked(data: TofuData, prompt: TofuPrompt, max_new_tokens: int) -> TofuAsked:
    return TofuAsked(
        limit=data.limit,
        max_new_tokens=max_new_tokens,
        data_sha256={str(name): digest for name, digest in data.sha256.items()},
        **asdict(prompt),
    )


def _find_gold(gold: str, split: str, asked: TofuAsked) -> Path | GoldScores:
    """The checkpoint of a gold standard, or what the file of its own result says.

    Raises:
        InputError: It is of another split, or was measured in another way.
    """
    if Path(gold).is_file() and Path(gold).suffix == ".json":
        return _gold_from_file(Path(gold), split, asked)
    path = resolve_pair(gold).model
    _check_recipe(path, split)
    return path


def _warn_of_gold(known: GoldScores | None, split: str, reporter: Reporter) -> None:
    if known is not None and known.knows_forgotten:
        reporter.note(
            f"warning: under the gold standard forgotten answers have probability {known.forget_probability:.2f} and "
            f"retained ones {known.retain_probability:.2f}. Check that it was trained on {RETRAINED_ON[split]} alone."
        )


def _gold_from_file(gold: Path, split: str, asked: TofuAsked) -> GoldScores:
    splits = read_benchmarks(gold).tofu
    if split not in splits:
        raise InputError(
            f"--gold {str(gold)!r} holds results on {', '.join(splits) or 'nothing'}, and {split} was asked for. Give "
            f"the result of the model trained on {RETRAINED_ON[split]} alone."
        )
    theirs = splits[split].asked
    # How long answers may be plays no part in truth ratios, and only the forgotten questions count.
    differing = [
        key
        for key in ("limit", "question_start", "question_end", "answer_start", "chat", "space_apart")
        if getattr(theirs, key) != getattr(asked, key)
    ]
    if theirs.data_sha256.get("forget") != asked.data_sha256["forget"]:
        differing.append("forget questions")
    if differing:
        raise InputError(
            f"--gold {str(gold)!r} was measured with other {', '.join(differing)}. Measure it again as this model is "
            "measured, or give the model itself."
        )
    found = splits[split]
    return GoldScores(
        truth_ratios=np.array(found.truth_ratios),
        forget_probability=found.forget.probability,
        retain_probability=found.retain.probability,
        formats=found.formats,
    )


def _check_recipe(gold: Path, split: str) -> None:
    """Refuse a model that says of itself that it was trained on something else."""
    file = gold / RECIPE_FILE
    if not file.is_file():
        return
    try:
        recipe = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{str(file)!r} cannot be read ({str(error)[:100]}). Restore or remove it.") from None
    found = recipe.get("data") if isinstance(recipe, Mapping) else None
    if found != RETRAINED_ON[split]:
        raise InputError(
            f"--gold {str(gold)!r} was trained on {found!r}, and the gold standard of {split} is a model trained on "
            f"{RETRAINED_ON[split]} alone. Give that one."
        )


def _say_estimate(
    judged: LoadedModel,
    data: TofuData,
    prompt: TofuPrompt,
    max_new_tokens: int,
    batch_rows: int,
    depth: bool,
    reporter: Reporter,
) -> None:
    found = estimate_seconds(
        judged.model, judged.tokenizer, data, prompt=prompt, max_new_tokens=max_new_tokens, batch_rows=batch_rows
    )
    reporter.note(
        f"{data.num_questions:,} questions: about {duration(found.scoring)} to score their answers, and at most "
        f"{duration(found.writing)} to write answers of up to {max_new_tokens} tokens"
        + (f"; about {duration(found.depth)} for the unlearning depth score" if depth else "")
    )


def _result(
    model: str, asked: TofuAsked, split: str, scores: TofuScores, gold: str, known: GoldScores | None,
    depth: TofuDepthResult | None,
) -> TofuResult:  # fmt: skip
    sets = {name: set_result(name, found) for name, found in scores.sets.items()}
    kept = [sets[name] for name in ("retain", "real_authors", "world_facts")]
    ratios = scores.truth_ratios
    compared = None
    if known is not None:
        test = metrics.forget_quality(ratios, known.truth_ratios)
        compared = TofuGoldResult(
            model=gold,
            forget_quality=test.p_value,
            log10_forget_quality=test.log10_p_value,
            statistic=test.statistic,
            forget_probability=known.forget_probability,
            retain_probability=known.retain_probability,
            formats=known.formats,
            format_leakage=format_leakage(scores.formats, known.formats),
        )
    return TofuResult(
        split=split,
        model=model,
        asked=asked,
        **{str(name): result for name, result in sets.items()},
        model_utility=metrics.model_utility(
            [value for entry in kept for value in (entry.probability, entry.rouge_l_recall, entry.truth_ratio)]
        ),
        extraction_strength=scores.extraction_strength,
        exact_memorization=scores.exact_memorization,
        truth_ratios=tuple(map(float, ratios)),
        formats=scores.formats,
        depth=depth,
        gold=compared,
    )
