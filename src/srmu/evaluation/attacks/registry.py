"""All attacks by the name that they have in `results.json`, `--only` and `srmu gate`, in the order they are run.

Those that only read a model come first: a copy to be changed drops the model that is kept for reading.
"""

from collections.abc import Callable

from srmu.evaluation.attacks.ablate import ablate
from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.few_shot import few_shot
from srmu.evaluation.attacks.keywords import keywords
from srmu.evaluation.attacks.logit_lens import logit_lens
from srmu.evaluation.attacks.min_k import min_k
from srmu.evaluation.attacks.mixed_prompt import mixed_prompt
from srmu.evaluation.attacks.outcome import Outcome
from srmu.evaluation.attacks.paraphrase import paraphrase
from srmu.evaluation.attacks.probe import probe
from srmu.evaluation.attacks.quantise import int4, int8
from srmu.evaluation.attacks.relearn import relearn
from srmu.evaluation.attacks.relearn_control import relearn_control
from srmu.evaluation.attacks.relearn_matched import relearn_matched
from srmu.evaluation.attacks.sampling import sampling
from srmu.evaluation.attacks.setting import AttackSetting

Attack = Callable[[AttackSetting, Cells], Outcome]

ATTACKS: dict[str, Attack] = {
    "few_shot": few_shot,
    "paraphrase": paraphrase,
    "keywords": keywords,
    "mixed_prompt": mixed_prompt,
    "logit_lens": logit_lens,
    "probe": probe,
    "ablate": ablate,
    "min_k": min_k,
    "sampling": sampling,
    "int8": int8,
    "int4": int4,
    "relearn": relearn,
    "relearn_control": relearn_control,
    "relearn_matched": relearn_matched,
}
