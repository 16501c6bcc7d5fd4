"""The record of an attack that is made at several strengths."""

import dataclasses
from collections.abc import Mapping

from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.measured import Both, before_attack, kept_accuracies, started
from srmu.evaluation.attacks.outcome import worst_utility
from srmu.evaluation.attacks.setting import AttackSetting
from srmu.evaluation.attacks.worst import at_worst, points_of_sweep, verdict
from srmu.results.attack_records import AttackRecord, Control, Setting, SweepPoint


def record_of_sweep(
    setting: AttackSetting,
    cells: Cells,
    over: str,
    after: Mapping[float, Both],
    *,
    settings: Mapping[str, Setting] | None = None,
    control: Control | None = None,
) -> AttackRecord:
    """The worst strength at which the attack counts, and all of them.

    Args:
        setting: Of the attack.
        cells: Hold the untouched models' numbers.
        over: What the strength is.
        after: Both models by strength.
        settings: The attack's own.
        control: A third model.
    """
    before = before_attack(setting, cells)
    record = started(setting, before)
    points = []
    for at, both in after.items():
        valid, back = verdict(both["result"].forget, both["base"].forget, record)
        points.append(
            SweepPoint(
                at=at,
                forget=both["result"].forget,
                base=both["base"].forget,
                counts=valid,
                recovery=back,
                utility=worst_utility(both["result"].kept, before["base"].kept),
                base_utility=worst_utility(both["base"].kept, before["base"].kept),
            )
        )
    record = dataclasses.replace(record, sweep_over=over, sweep=tuple(points), settings=settings or {}, control=control)
    record = at_worst(record, points_of_sweep(points))
    if record.worst is None or record.worst.at is None:
        return record
    worst = after[record.worst.at]
    return dataclasses.replace(record, stderr=worst["result"].stderr, kept=kept_accuracies(before, worst))
