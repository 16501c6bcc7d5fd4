"""Control of relearning: fine-tune on facts that were never true, and ask the other half of the true ones.

Whatever comes back here was brought by fine-tuning itself (the form of the question, the kind of the answer), since no
true fact was trained on. Each fact of the given half gets a wrong answer of its own kind, the same one every time. No
attack: read it beside `relearn`. Why: arXiv 2506.00688, attacks that bring information in teach anew (abstract read);
the control is ours. Budget: that of `relearn`.
"""

from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.relearn import relearned
from srmu.evaluation.attacks.setting import AttackSetting
from srmu.results.attack_records import AttackRecord


def relearn_control(setting: AttackSetting, cells: Cells) -> AttackRecord:
    """The worst over ways, rates and steps."""
    return relearned(setting, cells, ("false",))
