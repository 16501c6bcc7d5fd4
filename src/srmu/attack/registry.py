"""All attacks by the name that they have in `results.json`, `--only` and `srmu gate`, in the order they are run.

Those that only read a model come first: a copy to be changed drops the model that is kept for reading.
"""

from collections.abc import Callable

from srmu.attack.ablate import ablate
from srmu.attack.cells import Cells
from srmu.attack.few_shot import few_shot
from srmu.attack.keywords import keywords
from srmu.attack.logit_lens import logit_lens
from srmu.attack.min_k import min_k
from srmu.attack.mixed_prompt import mixed_prompt
from srmu.attack.outcome import Outcome
from srmu.attack.paraphrase import paraphrase
from srmu.attack.probe import probe
from srmu.attack.quantise import int4, int8
from srmu.attack.relearn import relearn
from srmu.attack.relearn_control import relearn_control
from srmu.attack.relearn_matched import relearn_matched
from srmu.attack.sampling import sampling
from srmu.attack.setting import AttackSetting

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
