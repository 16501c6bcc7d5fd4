"""All attacks by the name that they have in `results.json`, `--only` and `srmu gate`, in the order they are run.

Those that only read a model come first: a copy to be changed drops the model that is kept for reading.
"""

from collections.abc import Callable
from dataclasses import dataclass

from srmu.evaluation.attacks.ablate import ablate
from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.few_shot import few_shot
from srmu.evaluation.attacks.gcg import gcg
from srmu.evaluation.attacks.gguf_file import gguf_q4
from srmu.evaluation.attacks.interpolate import interpolate
from srmu.evaluation.attacks.keywords import keywords
from srmu.evaluation.attacks.logit_lens import logit_lens
from srmu.evaluation.attacks.min_k import min_k
from srmu.evaluation.attacks.mixed_prompt import mixed_prompt
from srmu.evaluation.attacks.paraphrase import paraphrase
from srmu.evaluation.attacks.probe import probe
from srmu.evaluation.attacks.prune import prune
from srmu.evaluation.attacks.quantise import int4, int8
from srmu.evaluation.attacks.relearn import relearn
from srmu.evaluation.attacks.relearn_control import relearn_control
from srmu.evaluation.attacks.relearn_kind import relearn_kind
from srmu.evaluation.attacks.relearn_matched import relearn_matched
from srmu.evaluation.attacks.sampling import sampling
from srmu.evaluation.attacks.setting import AttackSetting
from srmu.evaluation.attacks.soft_prompt import soft_prompt
from srmu.evaluation.attacks.steer import steer
from srmu.results.attack_records import AttackRecord, Needs


@dataclass(frozen=True)
class Attack:
    """One attack.

    Attributes:
        run: Makes it, and gives its record.
        needs: What an attacker needs for it.
        keeps_own_parts: Whether it keeps its finished parts itself, since its sweep may grow; else its whole record
            is kept.
    """

    run: Callable[[AttackSetting, Cells], AttackRecord]
    needs: Needs
    keeps_own_parts: bool = False


ATTACKS: dict[str, Attack] = {
    "few_shot": Attack(few_shot, "prompts"),
    "paraphrase": Attack(paraphrase, "nothing"),
    "keywords": Attack(keywords, "prompts"),
    "mixed_prompt": Attack(mixed_prompt, "prompts"),
    "logit_lens": Attack(logit_lens, "weights"),
    "probe": Attack(probe, "weights and data"),
    "ablate": Attack(ablate, "weights and data"),
    "min_k": Attack(min_k, "prompts"),
    "sampling": Attack(sampling, "nothing"),
    "steer": Attack(steer, "weights"),
    "int8": Attack(int8, "weights"),
    "int4": Attack(int4, "weights"),
    "gguf_q4": Attack(gguf_q4, "weights"),
    "prune": Attack(prune, "weights"),
    "interpolate": Attack(interpolate, "weights"),
    "soft_prompt": Attack(soft_prompt, "weights and data"),
    "gcg": Attack(gcg, "weights and data"),
    "relearn_kind": Attack(relearn_kind, "weights", keeps_own_parts=True),
    "relearn": Attack(relearn, "weights and data", keeps_own_parts=True),
    "relearn_control": Attack(relearn_control, "weights and data", keeps_own_parts=True),
    "relearn_matched": Attack(relearn_matched, "weights and data", keeps_own_parts=True),
}
