"""Make a Hugging Face language model forget texts, selectively, and show what was forgotten and what was kept.

Forget:
    unlearn         texts and a model in, changed matrices and their evidence out
    resume          an interrupted run, to the result it would have had
    tune            a search for settings, over many trials
    overlap         how entangled the texts are, before any training
    questions       four-choice questions made of the forget texts, for those who have none

Look at the result:
    evaluate        a model, and its base beside it, on questions, texts, prompts and tasks
    ask             prompts answered by base and result side by side
    attack          does the forgetting hold? attacks on a result, and the same on its base

Decide:
    compare         runs on one base in one table
    gate            acceptance criteria over what was measured
    report          the page of a run, or of a comparison
    new_request     an erasure request, written down
    run_requests    all that wait in one run; earlier ones checked again
    request_status  where each stands; the log verified
    close_requests  signed off: who, when

Settings and results:
    UnlearnConfig   all settings of a run; its groups are the next ones
    ModelConfig     the base model, and how it is loaded
    DataConfig      texts and questions, and how they become rows
    TopicConfig     one topic of several
    SearchConfig    whether settings are chosen by trials within the run
    TargetConfig    what hidden states are driven to
    TrainingConfig  which matrices are trained, and how
    OutputConfig    what is measured, and what is left behind
    UnlearnResult   what `unlearn` and `resume` return
    TuneResult      what `tune` returns
    InputError      something that was asked for is wrong; the message says what to do

Names are loaded when they are first used, so that `import srmu` and `srmu --help` are instant.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srmu.config.groups import (
        DataConfig,
        ModelConfig,
        OutputConfig,
        SearchConfig,
        TargetConfig,
        TopicConfig,
        TrainingConfig,
    )
    from srmu.config.settings import UnlearnConfig
    from srmu.errors import InputError
    from srmu.evaluation.attacks.runner import attack
    from srmu.job.ask import ask
    from srmu.job.erasure.close import close_requests
    from srmu.job.erasure.new import new_request
    from srmu.job.erasure.run import run_requests
    from srmu.job.erasure.status import request_status
    from srmu.job.evaluate import evaluate
    from srmu.job.gate import gate
    from srmu.job.overlap import measure_overlap as overlap
    from srmu.job.questions import make_questions as questions
    from srmu.job.result import UnlearnResult
    from srmu.job.tuning.study import TuneResult, tune
    from srmu.job.unlearn import resume, unlearn
    from srmu.results.compare import compare_runs as compare
    from srmu.results.report.page import write_report as report

__version__ = "0.1.0"
__all__ = [
    "DataConfig",
    "InputError",
    "ModelConfig",
    "OutputConfig",
    "SearchConfig",
    "TargetConfig",
    "TopicConfig",
    "TrainingConfig",
    "TuneResult",
    "UnlearnConfig",
    "UnlearnResult",
    "ask",
    "attack",
    "close_requests",
    "compare",
    "evaluate",
    "gate",
    "new_request",
    "overlap",
    "questions",
    "report",
    "request_status",
    "resume",
    "run_requests",
    "tune",
    "unlearn",
]

_HOMES = {
    "DataConfig": "config.groups",
    "InputError": "errors",
    "ModelConfig": "config.groups",
    "OutputConfig": "config.groups",
    "SearchConfig": "config.groups",
    "TargetConfig": "config.groups",
    "TopicConfig": "config.groups",
    "TrainingConfig": "config.groups",
    "TuneResult": "job.tuning.study",
    "UnlearnConfig": "config.settings",
    "UnlearnResult": "job.result",
    "ask": "job.ask",
    "attack": "evaluation.attacks.runner",
    "close_requests": "job.erasure.close",
    "compare": "results.compare",
    "evaluate": "job.evaluate",
    "gate": "job.gate",
    "new_request": "job.erasure.new",
    "overlap": "job.overlap",
    "questions": "job.questions",
    "report": "results.report.page",
    "request_status": "job.erasure.status",
    "resume": "job.unlearn",
    "run_requests": "job.erasure.run",
    "tune": "job.tuning.study",
    "unlearn": "job.unlearn",
}
_OWN_NAMES = {
    "compare": "compare_runs",
    "overlap": "measure_overlap",
    "questions": "make_questions",
    "report": "write_report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'srmu' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"srmu.{_HOMES[name]}"), _OWN_NAMES.get(name, name))


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
