"""The model card: our section above the base's text, and the base's front matter with our keys in it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from srmu.export.patch import CARD
from srmu.results.audit_records import Audit, AuditPart, describe_loss
from srmu.results.fluency_records import FluencyGroup
from srmu.results.manifest import DataRecord
from srmu.results.records import Results
from srmu.runtime.escaping import markdown, markdown_code

_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n((?:.*?\r?\n)??)---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_TAGS = ("srmu", "unlearning")
WORST_FIELDS = 5
"""Fields of knowledge that the card names, where something was lost in them."""


def read_card(checkpoint_dir: Path) -> str | None:
    """The base's model card, or none; text that is not UTF-8 is read as Latin-1, which never fails."""
    file = checkpoint_dir / CARD
    if not file.is_file():
        return None
    content = file.read_bytes()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


@dataclass(frozen=True)
class CardResult:
    """One line of the card's table of results: a group, its metric and size, before and after."""

    group: str
    metric: str
    n: int
    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card says; what is left out is not mentioned.

    Attributes:
        model: What the user named as base.
        hub_id: Whether that is an id of the hub.
        method: The target.
        preset: Name of the preset.
        layer: Tapped layer, from 0.
        changed: Stored names of the changed tensors.
        data: Sources of texts.
        settings: Name and value.
        assumed: Settings that the preset's sources do not give, with where each comes from.
        results: What was measured.
        audit: What was lost that nobody asked about; none = it was not audited.
        srmu_version: That made the result.
    """

    model: str = "a checkpoint"
    hub_id: bool = False
    method: str | None = None
    preset: str | None = None
    layer: int | None = None
    changed: Sequence[str] = ()
    data: Sequence[DataRecord] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    assumed: Mapping[str, str] = field(default_factory=dict)
    results: Sequence[CardResult] = ()
    audit: Audit | None = None
    srmu_version: str = ""


def model_card(base_readme: str | None, facts: CardFacts) -> str:
    """Write the model card of a result.

    The base's front matter is kept but for its `model-index`, which holds the base's scores and not this
    model's. If it cannot be parsed it stays in the text below, so nothing is lost.

    Args:
        base_readme: The base's card, or none.
        facts: What to say.
    """
    front, body = _split(base_readme or "")
    _merge_front(front, facts)
    parts = [_dump(front), _section(facts)]
    if body.strip():
        parts.append(f"---\n\nThe card of the base model follows, unchanged.\n\n{body}")
    return "\n".join(parts)


def card_results(results: Results) -> list[CardResult]:
    """What a card says of a run's own results: accuracy of questions, perplexity of texts, fluency of answers."""
    found = []
    for name, questions in results.questions.items():
        base, result = questions.base, questions.result
        if base and base.accuracy is not None and result.accuracy is not None:
            found.append(
                CardResult(f"{questions.label(name)} questions", "accuracy", base.n, base.accuracy, result.accuracy)
            )
    for name, texts in results.texts.items():
        before, after = texts.base, texts.result
        if before and before.perplexity is not None and after.perplexity is not None:
            pair = before.perplexity, after.perplexity
            found.append(CardResult(f"{name} texts", "perplexity", before.num_tokens, *pair))
    if results.fluency is not None:
        found.append(_fluency_result(results.fluency))
    return found


def _fluency_result(group: FluencyGroup) -> CardResult:
    return CardResult("answers to forget prompts", "fluency", group.base.n, group.base.score, group.result.score)


def _split(readme: str) -> tuple[dict[str, Any], str]:
    match = _FRONT_MATTER.match(readme)
    if match is None:
        return {}, readme
    import yaml

    class PlainLoader(yaml.SafeLoader):
        """YAML without its traps: `no` is Norwegian and 2024-01-01 is text, as the hub reads them."""

    PlainLoader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":timestamp"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    PlainLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
    try:
        front = yaml.load(match.group(1), PlainLoader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return {}, readme
    return (front, readme[match.end() :]) if isinstance(front, dict) else ({}, readme)


def _merge_front(front: dict[str, Any], facts: CardFacts) -> None:
    tags = front.get("tags") or []
    tags = list(tags) if isinstance(tags, list) else [tags]
    front["tags"] = [*tags, *(tag for tag in _TAGS if tag not in tags)]
    front.setdefault("library_name", "transformers")
    # The hub wants an id here; a path of somebody's disk would name nothing.
    if facts.hub_id:
        front["base_model"] = facts.model
        front["base_model_relation"] = "finetune"
    front.pop("model-index", None)
    if facts.results:
        front["model-index"] = [
            {
                "name": f"{Path(facts.model).name}-srmu",
                "results": [_index_entry(entry) for entry in facts.results],
            }
        ]


def _index_entry(entry: CardResult) -> dict[str, object]:
    return {
        "task": {"type": "text-generation"},
        # The hub takes letters, digits, dots, dashes and underscores here.
        "dataset": {"name": entry.group, "type": re.sub(r"[^\w.-]+", "-", entry.group, flags=re.ASCII)},
        "metrics": [{"type": entry.metric, "value": entry.after, "name": f"{entry.metric} after unlearning"}],
    }


def _dump(front: dict[str, Any]) -> str:
    import yaml

    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n"


def _section(facts: CardFacts) -> str:
    name = facts.model if facts.hub_id else Path(facts.model).name
    tool = f"srmu {facts.srmu_version}".rstrip()
    blocks = [
        "# Unlearned with srmu",
        f"This checkpoint is {markdown_code(name)} after unlearning by {tool} "
        "([SRMU](https://arxiv.org/abs/2512.16297)). It differs from that base in the tensors listed below and in "
        "nothing else but this card.",
        *_data_block(facts.data),
        *_method_block(facts),
        *_results_block(facts.results),
        *_audit_block(facts.audit),
        "## Check it, rebuild it",
        "```\nsrmu verify RUN --base BASE\nsrmu apply BASE RUN/delta.safetensors OUT\n```",
        "`RUN` is the run directory, whose manifest lists the hash of every file here; `BASE` is the base checkpoint.",
        "## Limits",
        "Unlearning lowers what the model says about the forget texts; it does not prove that the knowledge "
        "is gone. Fine-tuning, also on other texts, can bring some of it back. What neither the forget nor "
        "the retain texts mention may have suffered. Measure both before you rely on this checkpoint.",
    ]
    return "\n\n".join(blocks) + "\n"


def _data_block(data: Sequence[DataRecord]) -> list[str]:
    if not data:
        return []
    rows = [(each.role, each.source, each.documents, each.rows, each.sha256[:16]) for each in data]
    return [
        "## What was forgotten and what was kept",
        "Texts are named by count and hash; none is reproduced here.",
        _table(("role", "source", "documents", "rows", "sha256 (first 16)"), rows),
    ]


def _method_block(facts: CardFacts) -> list[str]:
    blocks = ["## How"]
    named = {"method": facts.method, "preset": facts.preset, "tapped layer (from 0)": facts.layer}
    lines = [f"- {label}: {markdown_code(value)}" for label, value in named.items() if value is not None]
    lines += [f"- changed: {markdown_code(tensor)}" for tensor in facts.changed]
    if lines:
        blocks.append("\n".join(lines))
    if facts.settings:
        rows = [(key, value, facts.assumed.get(key, "")) for key, value in facts.settings.items()]
        blocks.append(_table(("setting", "value", "assumed"), rows))
    return blocks if len(blocks) > 1 else []


def _results_block(results: Sequence[CardResult]) -> list[str]:
    if not results:
        return []
    rows = [(each.group, each.metric, each.n, _number(each.before), _number(each.after)) for each in results]
    return ["## Before and after", _table(("group", "metric", "n", "before", "after"), rows)]


def _audit_block(audit: Audit | None) -> list[str]:
    """The whole of what was audited, then the fields of which least was kept."""
    if audit is None:
        return []
    parts = [*audit.summary, *audit.worst[:WORST_FIELDS]]
    rows = [
        (part.words, part.known, _number(part.base), _number(part.result), "" if part.kept is None else _kept(part))
        for part in parts
    ]
    return [
        "## Outside the request",
        "What the base knows, asked again of this model: shipped facts from many fields of knowledge, what the base "
        "says of the names in the forget texts, and its own texts. After ± stands the standard error.",
        _table(("audited", "known", "before", "after", "kept"), rows),
        *([loss] if (loss := describe_loss(audit)) else []),
    ]


def _kept(part: AuditPart) -> str:
    error = "" if part.kept_error is None else f" ± {100 * part.kept_error:.1f}"
    return f"{100 * (part.kept or 0.0):.1f}{error} %"


def _number(value: float) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    def line(cells: Sequence[object]) -> str:
        return "| " + " | ".join(map(markdown, cells)) + " |"

    return "\n".join([line(head), "|" + " --- |" * len(head), *(line(row) for row in rows)])
