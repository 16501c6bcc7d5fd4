"""Acceptance criteria over what a run measured. What was not measured never passes.

Grammar of a requirement, spaces allowed between its parts::

    METRIC COMPARATOR BOUND

    METRIC      GROUP                accuracy of the result on that group of questions, length-normalised;
                                     what a group is called decides nothing here
                GROUP.KEY            accuracy_raw, nll, stderr, n of that group
                text.GROUP.KEY       nll, perplexity, top_accuracy, extraction_strength, exact_memorization,
                                     predictions_changed, moved on held-out texts
                task.NAME            accuracy (`acc`) on that task of lm-evaluation-harness, from `srmu evaluate`
                task.NAME.KEY        another metric of that task: acc_norm, exact_match, ...
                benchmark.NAME.PART.KEY   a number of `srmu benchmark`: benchmark.tofu.forget10.model_utility
                collateral           share that the result answers of the shipped facts that the base knows
                collateral.PART      the same of neighbours, written, touching, or of a field of knowledge
                attack.NAME          accuracy on the forget questions after that attack (its `forget_after`)
                attack.NAME.KEY      another number of that attack
    COMPARATOR  <=  >=  <  >
    BOUND       NUMBER | base | FACTOR*base     base: the same metric of the base model

For example `forget<=0.30`, `entangled>=0.98*base`, `text.retain.nll<=1.02*base`, `attack.relearn<=0.45`.
"""

import dataclasses
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from srmu.config.requirements import Requirement, parse_requirement
from srmu.errors import InputError
from srmu.results.attack_records import AttackRecord
from srmu.results.audit_records import Audit
from srmu.results.benchmarks.records import Benchmarks
from srmu.results.fluency_records import FluencyGroup
from srmu.results.groups import QuestionGroup, TaskGroup, TextGroup, measures_of
from srmu.results.records import Results
from srmu.runtime.escaping import visible

Status = Literal["pass", "fail", "missing", "skipped", "error"]

_COMPARATORS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
_ATTACK_VALUE = "forget_after"
Numbers = Mapping[str, float | None]


@dataclass(frozen=True)
class Verdict:
    """What became of one requirement.

    Attributes:
        requirement: As the user wrote it.
        status: pass and fail are verdicts on a number; missing, skipped and error say why there is no number.
        value: What was measured.
        bound: What it was compared with.
        detail: The same in words.
    """

    requirement: str
    status: Status
    value: float | None
    bound: float | None
    detail: str


class _NoNumber(Exception):
    """There is nothing to compare: a status and the reason."""

    def __init__(self, status: Status, reason: str):
        super().__init__(reason)
        self.status: Status = status


def check_requirements(requirements: Sequence[str], results: Results) -> list[Verdict]:
    """Compare results with requirements, one verdict each, in order.

    Args:
        requirements: At least one, in the grammar above.
        results: What was measured on the run.

    Raises:
        InputError: If there is no requirement, or one is not understood.
    """
    if not requirements:
        raise InputError("There is nothing to check: no requirement was given and the run's config names none.")
    return [_check(parse_requirement(text), results) for text in requirements]


def passed(verdicts: Sequence[Verdict]) -> bool:
    """Whether every requirement passed."""
    return all(verdict.status == "pass" for verdict in verdicts)


def junit_xml(verdicts: Sequence[Verdict], run_name: str) -> str:
    """The verdicts as a JUnit test suite: a failed requirement is a failure, one without a number an error."""
    from xml.etree import ElementTree

    failures = sum(verdict.status == "fail" for verdict in verdicts)
    passes = sum(verdict.status == "pass" for verdict in verdicts)
    counts = {"tests": len(verdicts), "failures": failures, "errors": len(verdicts) - failures - passes, "skipped": 0}
    attributes = {key: str(value) for key, value in counts.items()}
    root = ElementTree.Element("testsuites", attributes)
    suite = ElementTree.SubElement(root, "testsuite", {"name": visible(f"srmu gate {run_name}"), **attributes})
    for verdict in verdicts:
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": "srmu.gate", "name": visible(verdict.requirement)}
        )
        if verdict.status != "pass":
            kind = "failure" if verdict.status == "fail" else "error"
            problem = ElementTree.SubElement(case, kind, {"type": verdict.status, "message": visible(verdict.detail)})
            problem.text = visible(verdict.detail)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _check(requirement: Requirement, results: Results) -> Verdict:
    value = None
    try:
        result, base = _measured(requirement.metric, results)
        value = _finite(result, requirement.metric)
        bound = requirement.number
        if requirement.relative:
            bound *= _finite(base, f"the base's {requirement.metric}")
    except _NoNumber as reason:
        return Verdict(requirement.text, reason.status, value, None, str(reason))
    holds = _COMPARATORS[requirement.comparator](value, bound)
    detail = f"{requirement.metric} is {value:.4g}, required {requirement.comparator} {bound:.4g}"
    return Verdict(requirement.text, "pass" if holds else "fail", value, bound, detail)


def _measured(metric: str, results: Results) -> tuple[float | None, float | None]:
    """The result's and the base's number under a metric; group names may hold dots themselves."""
    questions, texts = results.all_questions, results.all_texts
    group, _, key = metric.rpartition(".")
    if metric in questions:
        return _question(questions[metric], "accuracy")
    if group in questions:
        return _question(questions[group], key)
    if metric.startswith("text."):
        group = group.removeprefix("text.")
        if group not in texts:
            raise _NoNumber("missing", f"no held-out texts {group!r} were measured; there are {_known(texts)}")
        return _text(texts[group], key)
    if metric.startswith("task."):
        return _task(metric.removeprefix("task."), results.evaluate.tasks)
    if metric.startswith("benchmark."):
        return _benchmark(metric.removeprefix("benchmark."), results.benchmarks)
    if metric == "collateral" or metric.startswith("collateral."):
        return _collateral(metric.removeprefix("collateral").removeprefix("."), results.audit)
    if metric == "fluency" or metric.startswith("fluency."):
        return _fluency(metric.removeprefix("fluency").removeprefix(".") or "score", results.fluency)
    if metric.startswith("attack."):
        return _attack(metric.removeprefix("attack."), results.attacks)
    raise _NoNumber("missing", f"no questions {metric!r} were measured; there are {_known(questions)}")


def _question(group: QuestionGroup, key: str) -> tuple[float | None, float | None]:
    return _both(measures_of(group.result), measures_of(group.base) if group.base else {}, key)


def _text(group: TextGroup, key: str) -> tuple[float | None, float | None]:
    """What compares both models has no base of its own."""
    both = {"predictions_changed": group.predictions_changed, "moved": group.moved}
    return _both({**both, **measures_of(group.result)}, measures_of(group.base) if group.base else {}, key)


def _both(result: Numbers, base: Numbers, key: str) -> tuple[float | None, float | None]:
    if key not in result:
        raise _NoNumber("missing", f"{key!r} was not measured; there are {_known(result)}")
    return result[key], base.get(key)


def _task(path: str, tasks: Mapping[str, TaskGroup]) -> tuple[float | None, float | None]:
    name, _, key = path.rpartition(".")
    if path in tasks:
        name, key = path, "acc"
    if name not in tasks:
        raise _NoNumber("missing", f"task {path!r} was not measured; there are {_known(tasks)}")
    task = tasks[name]
    result, base = task.result.metrics, task.base.metrics if task.base else {}
    # The harness writes a metric with its filter behind it; "none" is the usual one.
    found = [side.get(key, side.get(f"{key},none")) for side in (result, base)]
    if found[0] is None:
        raise _NoNumber("missing", f"task {name!r} has no {key!r}; there are {_known(result)}")
    return found[0], found[1]


def _benchmark(path: str, benchmarks: Benchmarks) -> tuple[float | None, float | None]:
    """A benchmark is measured on the result alone, so there is no base."""
    found = benchmarks.numbers()
    name = next((name for name in found if path.startswith(f"{name}.")), None)
    if name is None:
        raise _NoNumber("missing", f"benchmark {path!r} was not measured; there are {_known(found)}")
    return _both(found[name], {}, path.removeprefix(f"{name}."))


def _collateral(name: str, audit: Audit | None) -> tuple[float | None, float | None]:
    """Shares of what the base knows that the result and the base answer."""
    if audit is None:
        raise _NoNumber("missing", "nothing was audited; run without --no-audit")
    parts = audit.parts()
    if (part := parts.get(name or "bank")) is None:
        raise _NoNumber("missing", f"the audit has no {name or 'bank'!r}; there are {_known(parts)}")
    return part.result, part.base


def _fluency(key: str, group: FluencyGroup | None) -> tuple[float | None, float | None]:
    if group is None:
        raise _NoNumber("missing", "no answers were judged; run without --no-eval")
    return _both(dataclasses.asdict(group.result), dataclasses.asdict(group.base), key)


def _attack(path: str, attacks: Mapping[str, AttackRecord]) -> tuple[float | None, float | None]:
    name, _, key = path.rpartition(".")
    if path in attacks:
        name, key = path, _ATTACK_VALUE
    if name not in attacks:
        raise _NoNumber("missing", f"attack {path!r} was not run; there are {_known(attacks)}")
    record = attacks[name]
    if record.status != "result":
        reason = f"the measurement says {record.status!r}: {record.detail or 'no reason given'}"
        raise _NoNumber("error" if record.status == "error" else "skipped", reason)
    numbers = _attack_numbers(record)
    if key not in numbers:
        raise _NoNumber("missing", f"attack {name!r} has no {key!r}; there are {_known(numbers)}")
    return numbers[key], record.base_after if key == _ATTACK_VALUE else None


def _attack_numbers(record: AttackRecord) -> Numbers:
    """The fields that are numbers."""
    kinds = (int, float, int | None, float | None)
    return {each.name: getattr(record, each.name) for each in dataclasses.fields(record) if each.type in kinds}


def _finite(value: float | None, what: str) -> float:
    if value is None:
        raise _NoNumber("missing", f"{what} has no value")
    return float(value)


def _known(entries: Iterable[str]) -> str:
    return ", ".join(sorted(entries)) or "none"
