"""How long a run will take, predicted from a timed probe: a few steps, a few questions, a few tokens on this machine.

Every part is the real thing on the run's own model and texts, done in part and scaled up: loading, the steps of the
training, what is measured. Nothing is written. A model that does not fit in memory, or whose probe would take longer
than people wait for, is predicted from operations alone (`job/estimate.py`), and the prediction says so.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

from srmu.config.sources import GENERAL
from srmu.errors import RunError
from srmu.evaluation.audit.audit import MOST_NAMES, NAME_FRAMES, NAME_TOKENS, TRIAL_SHARE
from srmu.evaluation.audit.bank import choose_facts, read_bank
from srmu.evaluation.audit.base_knowledge import KNOWN_PER_FIELD, WRITTEN_ROWS, WRITTEN_TOKENS
from srmu.evaluation.loading import load_causal_lm
from srmu.evaluation.questions import score_questions
from srmu.evaluation.texts import text_scores
from srmu.inputs.generation import continue_rows
from srmu.inputs.questions import Question
from srmu.inputs.sources import general_corpus
from srmu.job.estimate import estimate
from srmu.job.measuring import knowledge_file
from srmu.job.plan import Plan
from srmu.job.prepare import SELF_TOKENS
from srmu.job.training import make_solver
from srmu.runtime.processes import world_size
from srmu.runtime.progress import Reporter
from srmu.solver.stopping import LIKELY_STEPS
from srmu.solver.topics import TopicRows
from srmu.surgery.truncate import TruncatedModel, load_truncated
from srmu.surgery.whole_model import must_stream

PROBE_STEPS = 6
LARGEST_PROBED_GB = 8.0
"""GB of weights; beyond, loading alone takes longer than a question about time may."""
_ASKED, _WARM = 12, 2
_PROBE_TOKENS, _PROBE_ROWS = 6, 16
_KNOWN_SHARE = 0.6
"""Of the facts of the audit that the base is asked it knows some six in ten."""


@dataclass(frozen=True)
class Forecast:
    """Predicted wall time, in seconds.

    Attributes:
        stages: By stage: `writing`, `training`, `measuring`, `audit`, `loading`, `export`; of a search those of a trial
            are in `training` and `measuring` as often as there may be trials.
        steps: For which the training is predicted.
        most_trials: Trials of a search, at most; 1 without one.
        probed: Whether parts were timed; else only `training` is there, counted in operations.
    """

    stages: dict[str, float]
    steps: int
    most_trials: int
    probed: bool

    @property
    def seconds(self) -> float:
        """In all."""
        return sum(self.stages.values())


def forecast(plan: Plan, reporter: Reporter, *, trials: int = 1) -> Forecast:
    """Predict the wall time of a run.

    Args:
        plan: The run.
        reporter: Hears of the probe.
        trials: Most trials of a search.
    """
    steps = likely_steps(plan)
    weights = sum((plan.checkpoint.path / shard).stat().st_size for shard in plan.checkpoint.shards)
    streamed = must_stream(plan.checkpoint, plan.device, plan.dtype, plan.config.model.memory_gb)
    if world_size() > 1 or streamed or weights > LARGEST_PROBED_GB * 1e9:
        return Forecast({"training": trials * estimate(plan)["training_seconds"]}, steps, trials, probed=False)
    with reporter.task("Timing a few steps") as progress:
        stages = {"training": trials * training_seconds(plan)}
        progress(1, 2)
        measured = _measuring_seconds(plan, trials)
        progress(2, 2)
    stages |= measured
    return Forecast({name: round(value, 3) for name, value in stages.items() if value}, steps, trials, probed=True)


def likely_steps(plan: Plan) -> int:
    """Steps that the run will likely take."""
    steps = plan.config.training.steps
    return LIKELY_STEPS if steps == "auto" else steps


def training_seconds(
    plan: Plan, truncated: TruncatedModel | None = None, topics: Sequence[TopicRows] | None = None
) -> float:
    """Frozen activations and all steps of one training, from those of a few steps.

    Args:
        plan: The run.
        truncated: Its layers, where they are loaded.
        topics: Its rows, where they are made.
    """
    config, steps = plan.config, likely_steps(plan)
    probe = replace(plan, config=config.replace(steps=min(steps, PROBE_STEPS), weight_averaging=0.0))
    if truncated is None:
        truncated = load_truncated(
            plan.checkpoint, plan.depth, dtype=plan.dtype, device=plan.device,
            trust_remote_code=config.model.trust_remote_code,
        )  # fmt: skip
    topics = topics or [_topic_rows(probe, topic) for topic in plan.topics]
    batch = config.training.forget_batch_size + config.training.retain_batch_size
    rows = sum(len(part) for topic in topics for part in (topic.forget, *topic.retain))
    # A run that reads rows again keeps what is frozen of them; so few steps would not, unless they are told.
    reads_again = steps * batch > rows
    solver = make_solver(probe, truncated, topics, kept={} if reads_again else None)
    scale = rows / min(rows, PROBE_STEPS * batch) if reads_again else 1.0
    seconds, diverged = list[float](), False
    while not (solver.done or diverged):
        frozen, records = _timed(solver.prepare), list[dict[str, Any]]()
        try:
            solver.run(records.extend, lambda done: None)
        except RunError:
            diverged = True
        step = median(record["seconds"] for record in records[min(_WARM, len(records) - 1) :])
        seconds.append(frozen * scale + steps * step)
    # Settings that make the loss infinite cost what others do, and the run itself says so: a stage that could not be
    # timed for that counts as the one that was.
    return sum(seconds) / len(seconds) * solver.num_stages


def _topic_rows(plan: Plan, topic: Any) -> TopicRows:
    """Rows of the texts that are there; in the place of texts that the model has yet to write, ordinary paragraphs."""
    written = [general_corpus()] if topic.written and all(c.source != GENERAL for c in topic.retain) else []
    return TopicRows(
        name=topic.name,
        forget=plan.rows(topic.forget, answers_only=True).train,
        retain=tuple(plan.rows(corpus).train for corpus in (*topic.retain, *written)),
        steering_coefficient=topic.steering_coefficient,
        retain_weight=topic.retain_weight,
    )


def _measuring_seconds(plan: Plan, trials: int) -> dict[str, float]:
    """What needs the whole model: loading, all that is measured, the audits, texts that the base writes."""
    config = plan.config
    models: list[Any] = []

    def load() -> None:
        models.append(
            load_causal_lm(
                plan.checkpoint.path, device=plan.device, dtype=plan.dtype,
                trust_remote_code=config.model.trust_remote_code,
            )
        )  # fmt: skip

    loading = _timed(load)
    times = 2 if config.output.eval else 0
    stages = {"loading": loading * (times + bool(_written(plan))), "export": 3 * loading}
    token = _token_seconds(plan, models[0])
    stages["writing"] = _written(plan) * SELF_TOKENS * token
    if config.output.eval:
        stages["measuring"] = (times + _searched(trials)) * sum(_measured_groups(plan, models[0]))
    if config.output.eval and config.output.audit:
        stages["audit"] = _audit_seconds(plan, models[0], token, trials)
    return stages


def _measured_groups(plan: Plan, model: Any) -> list[float]:
    """Seconds of each group of questions and of each side's held-out rows."""
    seconds = [questions_seconds(plan, model, asked) for asked in plan.questions.values()]
    for topic in plan.topics:
        for corpus in (topic.forget, *topic.retain):
            rows = [row.tolist() for row in plan.rows(corpus).heldout.token_ids]
            if rows:
                took = _timed(partial(text_scores, model, plan.tokenizer, rows[:_ASKED]))
                seconds.append(took * len(rows) / len(rows[:_ASKED]))
    return seconds


def _searched(trials: int) -> int:
    """Trials that are measured before the run itself is."""
    return trials if trials > 1 else 0


def _audit_seconds(plan: Plan, model: Any, token: float, trials: int) -> float:
    """All audits: facts asked, what the base says of names and writes; what is known of this base takes no time."""
    facts = choose_facts(read_bank(), KNOWN_PER_FIELD)
    asked = [fact.question(-1) for fact in facts[:: max(1, len(facts) // _ASKED)]]
    once = questions_seconds(plan, model, asked, total=len(facts))
    own = once + MOST_NAMES * len(NAME_FRAMES) * NAME_TOKENS * token + _searched(trials) * TRIAL_SHARE * once
    file = knowledge_file(plan)
    if file is not None and file.is_file():
        return own
    return own + once * (1 / _KNOWN_SHARE + 1) + WRITTEN_ROWS * WRITTEN_TOKENS * token


def questions_seconds(plan: Plan, model: Any, asked: Sequence[Question], total: int = 0) -> float:
    """Seconds of asking questions, from those of a few.

    Args:
        plan: The run.
        model: Whole.
        asked: Of which evenly spaced ones are asked; at least one.
        total: How many there are, where not all are in `asked`.
    """
    some = asked[:: max(1, len(asked) // _ASKED)]
    took = _timed(lambda: score_questions(model, plan.tokenizer, some, chat=plan.config.data.chat))
    return took * (total or len(asked)) / len(some)


def _token_seconds(plan: Plan, model: Any) -> float:
    """Seconds a token that a batch of rows writes."""
    text = plan.topics[0].forget.documents[0].as_text()
    row = list(plan.tokenizer.encode(text))[:_PROBE_TOKENS] or [0]
    rows = [row] * _PROBE_ROWS
    write = partial(continue_rows, model, rows, max_new_tokens=_PROBE_TOKENS, stop_ids=frozenset())
    write()
    return _timed(write) / (_PROBE_ROWS * _PROBE_TOKENS)


def _written(plan: Plan) -> int:
    """Texts that the base will write."""
    return sum(plan.config.data.num_self_written for topic in plan.topics for _ in topic.written)


def _timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
