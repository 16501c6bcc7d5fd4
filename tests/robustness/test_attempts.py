"""A thousand attempts from outside: one right answer each, nothing lost, no traceback, no hang, no flood of memory."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from main_job import write_texts
from robustness import attempt_outputs, attempt_places, attempt_records, attempt_values
from robustness.attempts import KINDS, SoundRun, kind_of, make, problem
from robustness.generated_inputs import unlearn
from srmu.cli.app import main
from srmu.results.attack_records import AttackRecord
from srmu.results.records import add_results
from srmu.results.report.page import write_report

assert all((attempt_outputs, attempt_places, attempt_records, attempt_values))  # they register their kinds
THOUSAND, SAMPLE, PART = range(1000), range(60), 100


@pytest.fixture(scope="module")
def sound(saved_family: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> SoundRun:
    """A run of two steps that was measured, evaluated, attacked and reported; never written to."""
    folder = tmp_path_factory.mktemp("sound")
    texts = write_texts(folder / "texts")
    single, run = saved_family("llama"), folder / "run"
    found = SoundRun(single, saved_family("llama", sharded=True), texts, folder / "none", run)
    questions = f"forget={texts / 'questions.jsonl'}"
    assert main([*unlearn(found), "--questions", questions, "--no-audit", "--out", str(run)]) == 0
    assert main(["evaluate", str(run), "--texts", f"notes={texts / 'retain.jsonl'}"]) == 0
    record = AttackRecord(status="result", forget_before=0.2, forget_after=0.4, base_after=0.9, recovery=0.1)
    add_results(run, lambda results: results.__class__(**{**vars(results), "attacks": {"relearn": record}}))
    write_report([run])
    assert main(["verify", str(run)]) == 0
    return found


def made(numbers: range, sound: SoundRun, place: Path) -> dict[tuple[int, str], str]:
    """What went wrong, by number and kind."""
    problems = {}
    for number in numbers:
        folder = place / str(number)
        attempt = make(number, folder, sound)
        if found := problem(attempt, folder):
            problems[number, kind_of(number)] = f"{' '.join(attempt.arguments)[:200]!r}: {found}"
        shutil.rmtree(folder)
    return problems


@pytest.mark.parametrize(
    "numbers",
    [SAMPLE, *(pytest.param(THOUSAND[start : start + PART], marks=pytest.mark.slow) for start in THOUSAND[::PART])],
    ids=lambda numbers: f"{numbers.start}-{numbers.stop}",
)
def test_each_attempt_gets_its_right_answer_and_leaves_what_is_not_ours(
    numbers: range, sound: SoundRun, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    problems = made(numbers, sound, tmp_path)
    for kind, count in Counter(map(kind_of, numbers)).items():
        record_property(kind, f"{count} attempts, {sum(failed == kind for _, failed in problems)} failed")
    assert problems == {}, "\n".join(f"{key}: {value}" for key, value in problems.items())


def test_the_thousand_are_spread_over_all_kinds() -> None:
    counts = Counter(map(kind_of, THOUSAND))
    assert counts.keys() == KINDS.keys()
    assert min(counts.values()) >= 7
    assert len(set(map(kind_of, SAMPLE))) >= len(KINDS) * 2 // 3
