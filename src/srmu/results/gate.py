"""Acceptance criteria over what a run measured. What was not measured never passes.

Grammar of a requirement, spaces allowed between its parts::

    METRIC COMPARATOR BOUND

    METRIC      GROUP                accuracy of the result on that group of questions, length-normalised;
                                     what a group is called decides nothing here
                GROUP.KEY            accuracy_raw, nll, stderr, n of that group
                text.GROUP.KEY       nll, perplexity, top_accuracy, predictions_changed, moved on held-out texts
                task.NAME            accuracy (`acc`) on that task of lm-evaluation-harness, from `srmu evaluate`
                task.NAME.KEY        another metric of that task: acc_norm, exact_match, ...
                attack.NAME          accuracy on the forget questions after that attack (its `forget_after`)
                attack.NAME.KEY      another number of that attack
    COMPARATOR  <=  >=  <  >
    BOUND       NUMBER | base | FACTOR*base     base: the same metric of the base model

For example `forget<=0.30`, `entangled>=0.98*base`, `text.retain.nll<=1.02*base`, `attack.relearn<=0.45`.
"""

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from srmu.config.requirements import Requirement, parse_requirement
from srmu.errors import InputError
from srmu.runtime.escaping import visible

Status = Literal["pass", "fail", "missing", "skipped", "error"]

_COMPARATORS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
_ATTACK_VALUE = "forget_after"
_MEASURED = ("result", None)


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


def check_requirements(requirements: Sequence[str], results: Mapping[str, Any]) -> list[Verdict]:
    """Compare results with requirements, one verdict each, in order.

    Args:
        requirements: At least one, in the grammar above.
        results: Content of `results.json`; empty where nothing was measured.

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


def _check(requirement: Requirement, results: Mapping[str, Any]) -> Verdict:
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


def _measured(metric: str, results: Mapping[str, Any]) -> tuple[Any, Any]:
    """The result's and the base's entry of a metric; group names may hold dots themselves."""
    questions = _groups(results, "questions")
    group, _, key = metric.rpartition(".")
    if metric in questions:
        return _both(questions[metric], "accuracy")
    if group in questions:
        return _both(questions[group], key)
    if metric.startswith("text."):
        texts, group = _groups(results, "texts"), group.removeprefix("text.")
        if group not in texts:
            raise _NoNumber("missing", f"no held-out texts {group!r} were measured; there are {_known(texts)}")
        return _both(texts[group], key)
    if metric.startswith("task."):
        return _task(metric.removeprefix("task."), _groups(results, "tasks"))
    if metric.startswith("attack."):
        return _attack(metric.removeprefix("attack."), _mapping(results.get("attacks")))
    raise _NoNumber("missing", f"no questions {metric!r} were measured; there are {_known(questions)}")


def _groups(results: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Groups that the run measured, and those that `srmu evaluate` added under other names."""
    return {**_mapping(_mapping(results.get("evaluate")).get(kind)), **_mapping(results.get(kind))}


def _both(entry: Mapping[str, Any], key: str) -> tuple[Any, Any]:
    """A number before and after; what compares both models stands beside them and has no base."""
    _raise_unless_measured(entry)
    result, base = _mapping(entry.get("result")), _mapping(entry.get("base"))
    if key in result:
        return result[key], base.get(key)
    if key in entry and not isinstance(entry[key], Mapping):
        return entry[key], None
    raise _NoNumber("missing", f"{key!r} was not measured; there are {_known(result)}")


def _task(path: str, tasks: Mapping[str, Any]) -> tuple[Any, Any]:
    name, _, key = path.rpartition(".")
    if path in tasks:
        name, key = path, "acc"
    if name not in tasks:
        raise _NoNumber("missing", f"task {path!r} was not measured; there are {_known(tasks)}")
    entry = tasks[name]
    _raise_unless_measured(entry)
    sides = [_mapping(_mapping(entry.get(side)).get("metrics")) for side in ("result", "base")]
    # The harness writes a metric with its filter behind it; "none" is the usual one.
    found = [side.get(key, side.get(f"{key},none")) for side in sides]
    if found[0] is None:
        raise _NoNumber("missing", f"task {name!r} has no {key!r}; there are {_known(sides[0])}")
    return found[0], found[1]


def _attack(path: str, attacks: Mapping[str, Any]) -> tuple[Any, Any]:
    name, _, key = path.rpartition(".")
    if path in attacks:
        name, key = path, _ATTACK_VALUE
    if name not in attacks:
        raise _NoNumber("missing", f"attack {path!r} was not run; there are {_known(attacks)}")
    entry = attacks[name]
    if not isinstance(entry, Mapping):
        return entry, None
    _raise_unless_measured(entry)
    if key not in entry:
        raise _NoNumber("missing", f"attack {name!r} has no {key!r}; there are {_known(entry)}")
    return entry[key], entry.get("base_after") if key == _ATTACK_VALUE else None


def _raise_unless_measured(entry: Any) -> None:
    if not isinstance(entry, Mapping):
        raise _NoNumber("error", f"the entry is {type(entry).__name__}, not an object")
    if (status := entry.get("status")) not in _MEASURED:
        reason = f"the measurement says {status!r}: {entry.get('detail') or 'no reason given'}"
        raise _NoNumber("skipped" if status in ("skipped", "not applicable") else "error", reason)


def _finite(value: Any, what: str) -> float:
    if value is None:
        raise _NoNumber("missing", f"{what} has no value")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _NoNumber("error", f"{what} is {value!r}, not a finite number")
    return float(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _known(entries: Mapping[str, Any]) -> str:
    return ", ".join(sorted(entries)) or "none"
