"""The work of `srmu benchmark wmdp`: a model on WMDP's questions, with MMLU beside them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from srmu.errors import InputError
from srmu.evaluation.benchmarks.wmdp import PartScores, estimate_seconds, score_wmdp
from srmu.evaluation.benchmarks.wmdp_data import DEFAULT_PARTS, PARTS, WmdpData, read_wmdp
from srmu.evaluation.benchmarks.wmdp_harness import score_wmdp_by_harness
from srmu.evaluation.model_pair import LoadedModel
from srmu.inputs.harness_tasks import define_tasks
from srmu.job.benchmarks.common import ComputeOptions, duration, find_model, keep, measured
from srmu.results.benchmarks.records import Benchmarks
from srmu.results.benchmarks.wmdp import Engine, WmdpAsked, WmdpResult, WmdpSubject
from srmu.runtime.processes import world_size
from srmu.runtime.progress import Reporter


def benchmark_wmdp(
    model: str,
    *,
    data: str | Path,
    parts: Sequence[str] = DEFAULT_PARTS,
    limit: int | None = None,
    harness: bool = False,
    compute: ComputeOptions | None = None,
    reporter: Reporter | None = None,
) -> dict[str, WmdpResult]:
    """Measure a model on parts of WMDP and on MMLU.

    Args:
        model: Checkpoint directory, hub id, or a finished run directory, which then keeps the results.
        data: Folder of question files, or `hub`.
        parts: Of `bio`, `cyber`, `chem`, `mmlu`, `bio_robust` and `bio_cloze`.
        limit: Most questions of each part, of every subject some.
        harness: Have lm-evaluation-harness itself ask them, which takes longer and finds the same.
        compute: Device, precision and memory.
        reporter: Hears of stages, progress and the estimate.

    Returns:
        By part, in the order of the tables.

    Raises:
        InputError: Anything asked for is wrong.
    """
    compute, reporter = compute or ComputeOptions(), reporter or Reporter()
    questions = read_wmdp(data, parts, limit=limit)
    if harness:
        # Known before a model is loaded.
        define_tasks([])
        if world_size() > 1:
            raise InputError(
                f"The harness was asked for in {world_size()} processes, and it computes in one. Leave --harness out: "
                "srmu finds the same answers in several."
            )
    pair = find_model(model, compute)

    def judge(judged: LoadedModel) -> Mapping[str, PartScores]:
        if harness:
            return score_wmdp_by_harness(judged.model, judged.tokenizer, questions, reporter=reporter)
        seconds = estimate_seconds(judged.model, judged.tokenizer, questions)
        reporter.note(f"{questions.num_questions:,} questions: about {duration(seconds)}")
        return score_wmdp(judged.model, judged.tokenizer, questions, reporter=reporter)

    scores = measured(pair.model, compute, judge)
    engine: Engine = "lm-evaluation-harness" if harness else "srmu"
    found = {
        part: _result(part, str(pair.model), _asked(questions, part, data, engine, compute), found)
        for part, found in scores.items()
    }
    keep(pair, Benchmarks(wmdp=found))
    return found


def _asked(questions: WmdpData, part: str, data: str | Path, engine: Engine, compute: ComputeOptions) -> WmdpAsked:
    return WmdpAsked(
        data=Path(data).name,
        data_sha256=questions.sha256[part],
        limit=questions.limit,
        engine=engine,
        dtype=compute.dtype,
    )


def _result(part: str, model: str, asked: WmdpAsked, scores: PartScores) -> WmdpResult:
    return WmdpResult(
        part=part,
        model=model,
        asked=asked,
        n=len(scores.right),
        size=PARTS[part].size,
        accuracy=scores.accuracy,
        stderr=scores.stderr if len(scores.right) > 1 else None,
        subjects={name: WmdpSubject(n=n, accuracy=share) for name, (n, share) in scores.by_subject().items()},
    )
