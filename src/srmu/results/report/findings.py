"""What a run forgot and what that cost, in sentences; every number is one that its results hold."""

from collections.abc import Mapping

from markupsafe import Markup

from srmu.results.audit_records import MOST_NAMED, NEIGHBOURS_KEPT, Audit, AuditPart
from srmu.results.groups import Change, QuestionGroup, TextGroup
from srmu.results.records import Results
from srmu.results.report.numbers import number, with_error
from srmu.results.significance import is_significant

NO_CHANGE = Change(None, None, None, None)


def change_of(change: Change) -> Markup:
    """A difference with its standard error, marked where it is more than chance."""
    text = with_error(change.difference, change.stderr, "signed")
    return text + Markup(' <span class="mark">*</span>') if is_significant(change) else text


def findings(results: Results) -> list[Markup]:
    """What was forgotten, then what was kept, then what the audit found; of a run that measured nothing, nothing."""
    questions = {name: group for name, group in results.all_questions.items() if group.change is not None}
    audited = [] if results.audit is None else _audited(results.audit)
    return _forgotten(results, questions) + _kept(results, questions) + audited


def _audited(audit: Audit) -> list[Markup]:
    """What was lost that nobody asked about; of names in the forget texts only where much was."""
    sentences = []
    parts = [part for part in (audit.bank, audit.written) if part is not None and part.kept is not None]
    if worst := min(parts, key=lambda part: part.kept or 0.0, default=None):
        sentence = _audit_sentence(worst)
        if audit.lost:
            fields = Markup(", ").join(Markup("<em>{}</em>").format(part.words) for part in audit.worst[:MOST_NAMED])
            sentence += Markup("<strong>That is a loss outside the request{}.</strong>").format(
                Markup(", most in {}").format(fields) if fields else ""
            )
        else:
            sentence += Markup("Nothing of weight was lost outside the request.")
        sentences.append(sentence)
    names = audit.neighbours
    if names is not None and names.kept is not None and names.kept < NEIGHBOURS_KEPT:
        lost = Markup("<strong>Other things about the names in the forget texts were lost too.</strong>")
        sentences.append(_audit_sentence(names) + lost)
    return sentences


def _audit_sentence(part: AuditPart) -> Markup:
    return Markup("Of <em>{}</em> the base answered {} and the result {}. ").format(
        part.words, number(part.base), with_error(part.result, part.stderr)
    )


def _forgotten(results: Results, questions: Mapping[str, QuestionGroup]) -> list[Markup]:
    sentences = []
    for name, group in questions.items():
        if results.side_of(name) == "forget":
            change = _accuracy(group)
            sentences.append(_accuracy_sentence(name, group) + _verdict_on_forgetting(change, -1))
    for name, texts in results.texts.items():
        if results.side_of(name) == "forget":
            sentences.append(_loss_sentence(name, texts) + _verdict_on_forgetting(_loss(texts), +1))
    return sentences


def _kept(results: Results, questions: Mapping[str, QuestionGroup]) -> list[Markup]:
    """The kept group of questions that fell most, or without questions every kept group of texts; and a verdict."""
    kept = {name: group for name, group in questions.items() if results.side_of(name) == "kept"}
    if kept:
        worst = min(kept, key=lambda name: _accuracy(kept[name]).difference or 0.0)
        sentences = [
            _accuracy_sentence(worst, kept[worst]) + Markup("Of what was to stay, it changed most for the worse.")
        ]
        fallen = [name for name, group in kept.items() if _is_beyond_chance(_accuracy(group), -1)]
        return [*sentences, _verdict_on_keeping(fallen)]
    texts = {name: group for name, group in results.texts.items() if results.side_of(name) == "kept"}
    if not texts:
        return []
    fallen = [name for name, group in texts.items() if _is_beyond_chance(_loss(group), +1)]
    return [*(_loss_sentence(name, group) for name, group in texts.items()), _verdict_on_keeping(fallen)]


def _accuracy(group: QuestionGroup) -> Change:
    return group.change.accuracy if group.change else NO_CHANGE


def _loss(group: TextGroup) -> Change:
    return group.change.nll if group.change else NO_CHANGE


def _is_beyond_chance(change: Change, sign: int) -> bool:
    """Whether the difference has that sign and is significant."""
    return is_significant(change) and (change.difference or 0.0) * sign > 0


def _accuracy_sentence(name: str, group: QuestionGroup) -> Markup:
    return Markup("The share of right answers to the questions <em>{}</em> was {} before and {} after ({}). ").format(
        group.label(name),
        number(group.base.accuracy if group.base else None),
        number(group.result.accuracy),
        change_of(_accuracy(group)),
    )


def _loss_sentence(name: str, group: TextGroup) -> Markup:
    return Markup("On the held-out texts <em>{}</em> the loss was {} nats per token before and {} after ({}). ").format(
        name, number(group.base.nll if group.base else None), number(group.result.nll), change_of(_loss(group))
    )


def _verdict_on_forgetting(change: Change, sign: int) -> Markup:
    """`sign` is that of a difference that shows forgetting."""
    if change.stderr is None:
        return Markup("Too little was asked to say whether that is chance.")
    if not (change.difference or 0.0) * sign > 0:
        return Markup("<strong>That is no sign of forgetting.</strong>")
    if not is_significant(change):
        return Markup("Chance alone may explain that.")
    return Markup("That is more than chance explains.")


def _verdict_on_keeping(fallen: list[str]) -> Markup:
    if not fallen:
        return Markup("No kept group got worse by more than chance explains.")
    names = Markup(", ").join(Markup("<em>{}</em>").format(name) for name in fallen)
    return Markup("<strong>It cost more than chance explains on {}.</strong>").format(names)
