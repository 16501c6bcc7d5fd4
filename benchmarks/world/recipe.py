"""Everything that decides an embedded world and its model, and the hash that names it."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass

from srmu.errors import InputError
from world.forms import FORMS, KINDS, RELATIONS

VERSION = 2
"""To be raised when the same recipe would give another world or another training."""
MAX_SYLLABLES = 70
"""Syllables there are: 14 consonants by 5 vowels."""


@dataclass(frozen=True, kw_only=True)
class WorldRecipe:
    """Knobs of the world and settings of its training."""

    seed: int = 0
    """Draws names, values, splits, texts, first weights and the order of training."""
    entanglement: float = 0.9
    """Share of the benign domain's sentence forms that the hazard domain borrows, and of its values; 0 to 1."""
    shared_values: float | None = None
    """Share of the benign domain's values that the hazard domain borrows; None follows `entanglement`."""
    hazard_entities: int = 12
    """Subjects in the hazard domain. A small model can forget about a tenth of what it knows and keep the rest."""
    entities: int = 30
    """Subjects in each other domain; each has a fact in each of its domain's four relations."""
    kinds: bool = True
    """Whether a word before every name says what the subject is, so that a domain can be told at any entanglement."""
    values: int = 15
    """Different answers in each relation."""
    name_syllables: int = 3
    """Length of subjects' names, 2 or more; a syllable is a token."""
    value_syllables: int = 2
    """Length of answers, 2 or more."""
    num_syllables: int = 30
    """Syllables that all names and answers of all domains are made of."""
    statements_per_text: int = 2
    """Statements joined into one text."""
    layers: int = 6
    """Decoder layers of the model."""
    width: int = 128
    """Hidden size of the model."""
    heads: int = 4
    """Attention heads."""
    intermediate: int = 384
    """Inner size of the MLPs."""
    passes: int = 60
    """How often training tells every fact, each time in another form."""
    rows: int = 4
    """Rows a step."""
    max_length: int = 64
    """Tokens a row; texts are packed."""
    learning_rate: float = 1e-3
    """Peak; linear warm-up, then a cosine to a hundredth of it."""
    warmup: float = 0.05
    """Share of the steps that warm up."""
    weight_decay: float = 0.01
    """Of AdamW."""
    answer_weight: float = 10.0
    """Weight of an answer's tokens in the training loss; names and the rest of a sentence have 1."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("entanglement", 0, 1),
            ("shared_values", 0, 1),
            ("hazard_entities", 4, 10_000),
            ("entities", 4, 10_000),
            ("values", 4, 10_000),
            ("name_syllables", 2, 8),
            ("value_syllables", 2, 8),
            ("num_syllables", 2, MAX_SYLLABLES),
            ("statements_per_text", 1, 100),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise InputError(f"`{name}={value!r}` of a world is out of range. Choose {low} to {high}.")
        if self.width % self.heads or self.width // self.heads % 2:
            raise InputError(
                f"`width={self.width}` with `heads={self.heads}` gives heads of size {self.width / self.heads:g}. "
                "Choose a width that gives an even whole number."
            )

    @property
    def value_overlap(self) -> float:
        """Share of the benign domain's values that the hazard domain borrows."""
        return self.entanglement if self.shared_values is None else self.shared_values

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that name the recipe, the sentence forms and the version of the training."""
        content = [VERSION, dataclasses.asdict(self), FORMS, KINDS, RELATIONS]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
