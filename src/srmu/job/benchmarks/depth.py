"""The unlearning depth score of `srmu benchmark tofu --depth`: three models, one in memory at a time."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srmu.errors import InputError
from srmu.evaluation.benchmarks.depth import Span, SpanStates, depth_scores, span_log_probabilities, span_states
from srmu.evaluation.benchmarks.tofu import GoldScores
from srmu.evaluation.benchmarks.tofu_data import TofuData
from srmu.evaluation.benchmarks.tofu_prompt import TofuPrompt
from srmu.evaluation.benchmarks.tofu_spans import Entity, answer_spans, read_entities
from srmu.evaluation.model_pair import LoadedModel, ModelPair
from srmu.inputs.generation import max_positions
from srmu.job.benchmarks.common import ComputeOptions, measured
from srmu.results.benchmarks.tofu import TofuDepthResult
from srmu.runtime.progress import Reporter


@dataclass(frozen=True, kw_only=True)
class DepthOptions:
    """What the unlearning depth score needs besides the retrained model."""

    base: str | None = None
    """The model before forgetting; of a run, none = the one in its manifest."""
    entities: str | None = None
    """File with the entity of each answer; none = whole answers are looked at."""


class DepthMeasure:
    """Everything that is checked before any model is loaded, and then the score."""

    def __init__(
        self,
        options: DepthOptions,
        pair: ModelPair,
        gold: Path | GoldScores | None,
        data: TofuData,
        prompt: TofuPrompt,
        compute: ComputeOptions,
        reporter: Reporter,
    ):
        if not isinstance(gold, Path):
            raise InputError(
                "The unlearning depth score needs the hidden states of the retrained model. Give --gold the model "
                "itself, or leave --depth out."
            )
        if pair.base is None:
            raise InputError(
                f"The unlearning depth score needs the model that {str(pair.model)!r} was made from. Give it with "
                "--base, or leave --depth out."
            )
        self.base, self.result_model, self.gold = pair.base, pair.model, gold
        self.questions, self.prompt, self.compute, self.reporter = data.sets["forget"], prompt, compute, reporter
        self.spans: list[Span] = []
        self.entities: dict[str, Entity] | None = None
        if options.entities is not None:
            self.entities = read_entities(options.entities, self.questions)

    def result(self) -> TofuDepthResult:
        """Mean over the answers that count."""
        full = self._patched(None)[0]
        gold, result = (
            self._patched(measured(path, self.compute, self._states)) for path in (self.gold, self.result_model)
        )
        scores = depth_scores(full, gold, result)
        counted = scores[~np.isnan(scores)]
        return TofuDepthResult(
            score=float(counted.mean()) if len(counted) else None,
            counted=len(counted),
            of=len(scores),
            entities=self.entities is not None,
            full_model=str(self.base),
        )

    def _spans(self, loaded: LoadedModel) -> list[Span]:
        spans = answer_spans(
            loaded.tokenizer, self.prompt, self.questions, self.entities, longest=max_positions(loaded.model)
        )
        self.spans = self.spans or spans
        if spans != self.spans:
            raise InputError(
                "The three models of the unlearning depth score have different tokenizers, so that their hidden states "
                "do not stand for the same tokens. Give a base and a retrained model of the same family."
            )
        return spans

    def _states(self, loaded: LoadedModel) -> SpanStates:
        return span_states(loaded.model, self._spans(loaded), title="Depth: hidden states", reporter=self.reporter)

    def _patched(self, states: SpanStates | None) -> np.ndarray:
        """Log-probabilities under the base, with other states where there are any."""

        def measure(loaded: LoadedModel) -> np.ndarray:
            return span_log_probabilities(
                loaded.model, self._spans(loaded), states, title="Depth: layer by layer", reporter=self.reporter
            )

        return measured(self.base, self.compute, measure)
