"""Relearning on texts of the same kind that hold none of the forgotten facts.

Definition: fine-tuning as in `relearn`, on `--texts kind=`, or else on kept facts of the same relations as the
forgotten ones (other countries' capitals, where a country's capital is forgotten), each in every form in which it is
asked. Texts that hold an answer or a subject of a forgotten fact, given or tested, are left out, so nothing that comes
back was told. An attacker needs no forgotten fact for it, only the weights and texts that anybody has. The base goes
through the same. Control: `relearn_control`. Source: arXiv 2406.13356 and 2411.12103 (relearning from little and
loosely related data; abstracts read); the rule for what is of the kind is ours. Budget: that of `relearn`.
"""

from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.relearn import relearned
from srmu.evaluation.attacks.setting import AttackSetting
from srmu.results.attack_records import AttackRecord


def relearn_kind(setting: AttackSetting, cells: Cells) -> AttackRecord:
    """The worst over ways, rates and steps."""
    return relearned(setting, cells, ("kind",))
