"""`--search`: settings chosen in a few trials from the user's own texts (docs/background/method.md says how and why).

Never asked: anything but what the user gave, and the paragraphs that come with srmu.
"""

import math
from dataclasses import dataclass
from typing import Any

from srmu.config.settings import make_config
from srmu.errors import RunError
from srmu.job.plan import Plan, resolve_retain_weight
from srmu.job.prepare import Prepared
from srmu.job.tuning.bench import Trained, TrialBench, TrialClock, say_time
from srmu.job.tuning.outcome import KEPT, PRICE, REMAINING, judge, shortfall
from srmu.job.tuning.request import decide_request
from srmu.job.tuning.space import AUTO_RATE
from srmu.job.tuning.validation import known_texts, search_validation
from srmu.results.study import AUDITED, Outcome, SearchRecord, SearchTrial
from srmu.runtime.progress import Reporter
from srmu.surgery.layers import auto_layer

Settings = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Procedure:
    """What `--search` tries: all its numbers.

    Attributes:
        trials: At most so many; each costs about one training. The first that reaches the aim is the last.
        near: Factor by which the retain weight is moved where a little too much remains or is lost.
        far: Factor where more than `half` remains, or less than `half_kept` is kept.
        half: See `far`.
        half_kept: See `far`.
        layers: Other tapped layers to try, as shares of the depth.
        factors: On other settings, in the order in which they are tried, one at a time.
    """

    trials: int = 8
    near: float = 3.0
    far: float = 30.0
    half: float = 0.5
    half_kept: float = 0.9
    layers: tuple[float, ...] = (1 / 4, 2 / 3)
    factors: tuple[tuple[str, float], ...] = (
        ("steering_coefficient", 2.0), (AUTO_RATE, 2.0), (AUTO_RATE, 0.5), ("steering_coefficient", 0.5),
    )  # fmt: skip


PROCEDURE = Procedure()


@dataclass(frozen=True)
class Tried:
    """A trial of the procedure; `outcome` is none where the training diverged."""

    settings: Settings
    outcome: Outcome | None
    seconds: float
    error: str = ""

    @property
    def too_gentle(self) -> bool:
        """Whether too much remains."""
        return self.outcome is not None and self.outcome.remaining > REMAINING

    @property
    def too_harsh(self) -> bool:
        """Whether too much was lost, or the training diverged."""
        return self.outcome is None or self.outcome.kept < KEPT

    @property
    def cost(self) -> tuple[bool, float, float]:
        """What it is judged by, smallest first: whether it loses what was audited, the shortfall, what was lost."""
        found = self.outcome
        if found is None:
            return (True, float("inf"), 0.0)
        return (not found.eligible, shortfall(found.remaining, found.kept), found.lost)

    @property
    def is_enough(self) -> bool:
        """Whether it forgets and keeps what a trial should."""
        return self.cost[1] == 0


@dataclass(frozen=True)
class Choice:
    """The best trial, which is the run itself, and how it was found.

    Attributes:
        trained: Its layers, its solver after the last step, its plan and its metrics.
        record: For the manifest: request, groups, every trial, the chosen one; no text.
    """

    trained: Trained
    record: SearchRecord


def choose_settings(plan: Plan, prepared: Prepared, reporter: Reporter, procedure: Procedure = PROCEDURE) -> Choice:
    """Try settings and return the best trial.

    Args:
        plan: The run; settings that differ from their defaults are the user's, and stay.
        prepared: Its rows.
        reporter: Hears of every trial.
        procedure: What to try.

    Raises:
        InputError: If there is nothing to measure on.
        RunError: If every trial diverged.
    """
    request = decide_request(plan)
    reporter.note(f"Request: {request.kind} ({request.reason}).")
    validation = search_validation(plan, prepared, request.kind)
    audited = plan.config.output.audit
    bench = TrialBench(plan, prepared.topics, validation, audited=audited, reporter=reporter)
    validation = bench.validation = known_texts(bench.base, validation, plan.vocab_size)
    reporter.note(say_time(bench.likely_seconds, procedure.trials, at_most=True))
    walk = Walk(plan, bench.automatic_rate, procedure)
    clock, tried = TrialClock(procedure.trials), list[Tried]()
    best: Trained | None = None
    while len(tried) < procedure.trials and (settings := walk.next(tried)) is not None:
        trained, trial = _try(bench, settings)
        if trained is not None and all(trial.cost < other.cost for other in tried):
            best = trained
        tried.append(trial)
        time_left = clock.left_after_one()
        left = f"; at most {time_left} left" if trial.cost[0] > 0 else ""
        reporter.note(f"Trial {len(tried)}: {say(trial)}{left}")
    if best is None:
        raise RunError(f"Every trial of --search diverged; the last one: {tried[-1].error} Nothing was written.")
    chosen = min(range(len(tried)), key=lambda number: tried[number].cost)
    if not tried[chosen].is_enough:
        reporter.note(
            f"No trial forgot and kept enough ({100 * REMAINING:.0f} % remaining, {100 * KEPT:.0f} % kept). "
            "The best is taken; srmu tune searches wider."
        )
    record = SearchRecord(
        request=request.kind,
        reason=request.reason,
        groups=(
            *validation.questions,
            *(f"{name} (text)" for name in validation.texts),
            *([AUDITED] if audited else []),
        ),
        rule=f"what was audited is kept; then remaining above {REMAINING} plus {PRICE:g} times kept below {KEPT}, "
        "least; then lost, least",
        trials=tuple(
            SearchTrial(trial.settings, round(trial.seconds, 3), trial.outcome, trial.error or None) for trial in tried
        ),
        chosen=chosen,
    )
    return Choice(best, record)


class Walk:
    """Which settings to try next: a bracket around the right retain weight, then other layers, strengths, rates.

    Args:
        plan: The run.
        rate: The automatic learning rate, which factors on it start from.
        procedure: What may be tried.
    """

    def __init__(self, plan: Plan, rate: float, procedure: Procedure):
        self.procedure = procedure
        config, default = plan.config, make_config({"preset": plan.config.preset})
        method = config.target.method
        weight = resolve_retain_weight(config.training.retain_weight, config.data.retain, method)
        self._is_free = weight == resolve_retain_weight(default.training.retain_weight, config.data.retain, method) > 0
        self._layers = _other_layers(plan, procedure)
        # What the user chose stays.
        self._given = {
            name: rate if name == AUTO_RATE else config.get(name)
            for name, _ in procedure.factors
            if config.get(name) == default.get(name)
        }
        self._start: Settings = {"layer": plan.layer_id, "retain_weight": weight}

    def next(self, tried: list[Tried]) -> Settings | None:
        """Settings for the next trial; none when the aim is reached, or nothing is left that was not tried."""
        if not tried:
            return self._start
        best = min(tried, key=lambda trial: trial.cost)
        if best.is_enough:
            return None
        known = [trial.settings for trial in tried]
        return next((settings for settings in self._moves(best, tried) if settings not in known), None)

    def _moves(self, best: Tried, tried: list[Tried]) -> list[Settings]:
        others = _without_weight(best.settings)
        weight = self._next_weight([trial for trial in tried if _without_weight(trial.settings) == others])
        weights: list[Settings] = [{**best.settings, "retain_weight": weight}] if weight else []
        layers: list[Settings] = [{**best.settings, "layer": layer} for layer in self._layers]
        changed: list[Settings] = [
            {**best.settings, name: _times(self._given[name], factor)}
            for name, factor in self.procedure.factors
            if name in self._given
        ]
        # Where both are amiss the weight alone does not help.
        return [*layers, *changed, *weights] if best.too_gentle and best.too_harsh else [*weights, *layers, *changed]

    def _next_weight(self, tried: list[Tried]) -> float | None:
        """Between one that is too gentle (forgets too little) and one that is too harsh, or further out than both."""
        if not self._is_free:
            return None
        lightest, heaviest = (pick(tried, key=lambda trial: trial.settings["retain_weight"]) for pick in (min, max))
        gentle = [trial.settings["retain_weight"] for trial in tried if trial.too_gentle and not trial.too_harsh]
        harsh = [trial.settings["retain_weight"] for trial in tried if trial.too_harsh]
        if gentle and harsh:
            return _digits(math.sqrt(min(gentle) * max(harsh)))
        if gentle:
            return _digits(lightest.settings["retain_weight"] / self._stride(lightest))
        return _digits(heaviest.settings["retain_weight"] * self._stride(heaviest))

    def _stride(self, trial: Tried) -> float:
        outcome, procedure = trial.outcome, self.procedure
        is_far = outcome is None or outcome.kept < procedure.half_kept or outcome.remaining > procedure.half
        return procedure.far if is_far else procedure.near


def _without_weight(settings: Settings) -> Settings:
    return {name: value for name, value in settings.items() if name != "retain_weight"}


def _times(value: float, factor: float) -> float:
    """A whole number stays one."""
    return round(value * factor) if isinstance(value, int) else _digits(value * factor)


def _digits(value: float) -> float:
    """Three digits: what is tried is what the record says."""
    return float(f"{value:.3g}")


def say(trial: Tried) -> str:
    """A trial in one line."""
    settings = ", ".join(f"{name} {value:g}" for name, value in trial.settings.items()) or "as given"
    if trial.outcome is None:
        return f"{settings}: diverged"
    outcome = trial.outcome
    lost = "" if outcome.eligible else ", and what was audited is lost"
    return (
        f"{settings}: of what is to be forgotten {100 * outcome.remaining:.0f} % remains, of what is to stay "
        f"{100 * outcome.kept:.1f} % is kept in the worst group{lost}, {trial.seconds:.0f} s"
    )


def _try(bench: TrialBench, settings: Settings) -> tuple[Trained | None, Tried]:
    try:
        trained = bench.train(settings)
    except RunError as error:
        return None, Tried(settings, None, 0.0, str(error))
    outcome = judge(bench.base, bench.measure(trained.solver), bench.validation)
    return trained, Tried(settings, outcome, trained.seconds)


def _other_layers(plan: Plan, procedure: Procedure) -> list[int]:
    """Tapped layers to try beside the formula's; none where the user chose layers."""
    formula = auto_layer(plan.num_layers)
    usual = tuple(range(max(0, formula - 2), formula + 1))
    if plan.layer_id != formula or plan.config.training.trained_layers != usual:
        return []
    wanted = [min(max(round(share * plan.num_layers), 2), plan.num_layers - 1) for share in procedure.layers]
    return [layer for layer in dict.fromkeys(wanted) if layer != formula]
