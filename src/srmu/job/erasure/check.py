"""Check every request so far on a result, beside the original model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srmu.config.settings import UnlearnConfig
from srmu.evaluation.model_pair import ModelPair
from srmu.evaluation.scores import Workload, evaluation_of
from srmu.inputs.corpora import read_corpus
from srmu.inputs.questions import Question, read_questions
from srmu.job.erasure.folder import Folder, checked_files
from srmu.job.erasure.settings import group_of
from srmu.job.evaluate import score_pair
from srmu.results.erasure.outcome import guessing_probability, judge
from srmu.results.erasure.records import (
    Checked,
    ErasureRequest,
    KeptCheck,
    QuestionCheck,
    RequestCheck,
    RequirementCheck,
    Role,
    TextCheck,
)
from srmu.results.gate import check_requirements
from srmu.results.groups import QuestionGroup, TextGroup
from srmu.results.manifest import read_manifest
from srmu.results.records import Evaluation, Results, read_results
from srmu.results.run_files import MANIFEST_FILE, MODEL_DIR
from srmu.results.sides import side_of
from srmu.results.significance import is_significant
from srmu.runtime.files import file_sha256
from srmu.runtime.progress import Reporter


@dataclass(frozen=True)
class Material:
    """What there is to check one request with.

    Attributes:
        questions: Empty where there are none, or their file is gone or changed.
        texts: The same.
        notes: What is gone or changed, one sentence each.
    """

    questions: Sequence[Question]
    texts: Sequence[str]
    notes: tuple[str, ...]


def read_material(folder: Folder, request: ErasureRequest, text_field: str) -> Material:
    """Questions and texts of a request, as far as they are as the request names them."""
    problems = checked_files(folder, request)
    texts = [str(folder.resolve(each.path)) for each in request.texts if each.path not in problems]
    corpus = read_corpus(texts, text_field=text_field, role="forget") if texts else None
    asked = request.questions
    questions = read_questions(folder.resolve(asked.path)) if asked and asked.path not in problems else []
    documents = [document.as_text() for document in corpus.documents] if corpus else []
    # The page shows no path: a file may be named after a person.
    kinds = {
        each.path: "questions" if each is asked else "texts" for each in (*request.texts, *([asked] if asked else []))
    }
    notes = [f"{kinds[path]}: {problem.removeprefix(repr(path)).strip()}" for path, problem in problems.items()]
    return Material(questions, documents, tuple(dict.fromkeys(notes)))


def check_result(
    folder: Folder,
    config: UnlearnConfig,
    requests: Mapping[str, ErasureRequest],
    roles: Mapping[str, Role],
    *,
    original: Path,
    run_dir: Path,
    reporter: Reporter,
) -> Checked:
    """Measure original model and result on the questions and texts of every request, and on what must stay.

    Args:
        folder: Of the requests.
        config: Of the run.
        requests: By id.
        roles: What the run did with each.
        original: The original model.
        run_dir: The finished run.
        reporter: Hears of progress.
    """
    material = {name: read_material(folder, requests[name], config.data.text_field) for name in roles}
    own = {group_of(name) for name in roles}
    kept = {name: read_questions(path) for name, path in config.data.questions.items() if name not in own}
    work = Workload(
        questions=kept | {group_of(name): found.questions for name, found in material.items() if found.questions},
        texts={group_of(name): found.texts for name, found in material.items() if found.texts},
        chat=config.data.chat,
    )
    model = config.model
    found = score_pair(
        ModelPair(run_dir / MODEL_DIR, original, None), work, device=model.device, dtype=model.dtype,
        memory_gb=model.memory_gb, trust_remote_code=model.trust_remote_code, reporter=reporter,
    )  # fmt: skip
    measured = evaluation_of(found["base"], found["result"])
    manifest, results = read_manifest(run_dir), read_results(run_dir)
    bank = results.audit.bank if results.audit else None
    return Checked(
        run=run_dir.name,
        manifest_sha256=file_sha256(run_dir / MANIFEST_FILE),
        method=manifest.method,
        steps=manifest.steps,
        seconds=round(sum(manifest.seconds.values()), 1),
        checks=tuple(_check(requests[name], role, material[name], measured) for name, role in roles.items()),
        kept=tuple(_kept(name, measured.questions[name], config) for name in kept),
        audited=None if bank is None else bank.known,
        audit_kept=None if bank is None else bank.kept,
        attacks=tuple(results.attacks),
        requirements=_requirements(config.output.require, measured, results, config),
    )


def _check(request: ErasureRequest, role: Role, material: Material, measured: Evaluation) -> RequestCheck:
    group = group_of(request.id)
    questions = _question_check(measured.questions.get(group), material.questions)
    texts, change = None, None
    if (group_of_texts := measured.texts.get(group)) is not None and group_of_texts.change is not None:
        change = group_of_texts.change.nll
        texts = _text_check(group_of_texts)
    return RequestCheck(
        request=request.id,
        role=role,
        outcome=judge(questions, texts, change, request.at_most),
        at_most=request.at_most,
        questions=questions,
        texts=texts,
        notes=material.notes,
    )


def _question_check(group: QuestionGroup | None, asked: Sequence[Question]) -> QuestionCheck | None:
    if group is None or group.base is None or group.base.accuracy is None or group.result.accuracy is None:
        return None
    chances = [(1 + len(question.also_right)) / len(question.choices) for question in asked]
    before, after = group.base.accuracy, group.result.accuracy
    return QuestionCheck(
        n=len(asked),
        before=before,
        after=after,
        guessing_before=guessing_probability(round(before * len(asked)), chances),
        guessing_after=guessing_probability(round(after * len(asked)), chances),
    )


def _text_check(group: TextGroup) -> TextCheck | None:
    if group.base is None or group.base.nll is None or group.result.nll is None or group.change is None:
        return None
    return TextCheck(
        tokens=group.result.num_tokens,
        before=group.base.nll,
        after=group.result.nll,
        stderr=group.change.nll.stderr,
        recited_before=group.base.extraction_strength,
        recited_after=group.result.extraction_strength,
    )


def _kept(name: str, group: QuestionGroup, config: UnlearnConfig) -> KeptCheck:
    assert group.change is not None
    change = group.change.accuracy
    fell = is_significant(change) and (change.difference or 0.0) < 0
    side = side_of(name, config.data.sides)
    return KeptCheck(
        group=name,
        n=group.result.n,
        before=change.before or 0.0,
        after=change.after or 0.0,
        stderr=change.stderr,
        lost=fell and side == "kept",
        side=side,
    )


def _requirements(
    wanted: Sequence[str], measured: Evaluation, results: Results, config: UnlearnConfig
) -> tuple[RequirementCheck, ...]:
    """Verdicts over what was measured beside the original model, and over the run's own audit and attacks."""
    if not wanted:
        return ()
    shown: dict[str, Any] = {"questions": measured.questions, "texts": measured.texts, "sides": config.data.sides}
    verdicts = check_requirements(wanted, Results(**shown, audit=results.audit, attacks=results.attacks))
    return tuple(RequirementCheck(each.requirement, each.status, each.detail) for each in verdicts)
