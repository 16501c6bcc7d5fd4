"""The model card: our section above the base's text, and the base's front matter with our keys in it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srmu.export.patch import CARD
from srmu.runtime.escaping import markdown, markdown_code

_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n((?:.*?\r?\n)??)---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_TAGS = ("srmu", "unlearning")


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


def model_card(base_readme: str | None, facts: Mapping[str, Any]) -> str:
    """Write the model card of a result.

    The base's front matter is kept but for its `model-index`, which holds the base's scores and not this
    model's. If it cannot be parsed it stays in the text below, so nothing is lost.

    Args:
        base_readme: The base's card, or none.
        facts: What to tell; every key may be left out. `model` (what the user named as base), `hub_id` (true
            if that is one), `method`, `preset`, `layer` (tapped), `changed` (stored names), `data` (mappings
            with role, source, sha256, documents, rows), `settings` (name to value), `assumed` (name to
            reason), `results` (mappings with group, metric, before, after, and n where known),
            `srmu_version`.
    """
    front, body = _split(base_readme or "")
    _merge_front(front, facts)
    parts = [_dump(front), _section(facts)]
    if body.strip():
        parts.append(f"---\n\nThe card of the base model follows, unchanged.\n\n{body}")
    return "\n".join(parts)


def card_results(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The `results` of a card out of `results.json`: accuracy of each group of questions, perplexity of texts."""
    sources = [("questions", "accuracy", "n"), ("texts", "perplexity", "num_tokens")]
    return [
        {
            "group": f"{name} {kind}",
            "metric": metric,
            "n": entry["base"][count],
            "before": entry["base"][metric],
            "after": entry["result"][metric],
        }
        for kind, metric, count in sources
        for name, entry in results.get(kind, {}).items()
        if entry["base"][metric] is not None and entry["result"][metric] is not None
    ]


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


def _merge_front(front: dict[str, Any], facts: Mapping[str, Any]) -> None:
    tags = front.get("tags") or []
    tags = list(tags) if isinstance(tags, list) else [tags]
    front["tags"] = [*tags, *(tag for tag in _TAGS if tag not in tags)]
    front.setdefault("library_name", "transformers")
    # The hub wants an id here; a path of somebody's disk would name nothing.
    if facts.get("hub_id"):
        front["base_model"] = facts["model"]
        front["base_model_relation"] = "finetune"
    front.pop("model-index", None)
    results = facts.get("results") or []
    if results:
        front["model-index"] = [
            {
                "name": f"{Path(str(facts.get('model', 'model'))).name}-srmu",
                "results": [_index_entry(entry) for entry in results],
            }
        ]


def _index_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "task": {"type": "text-generation"},
        # The hub takes letters, digits, dots, dashes and underscores here.
        "dataset": {"name": entry["group"], "type": re.sub(r"[^\w.-]+", "-", entry["group"], flags=re.ASCII)},
        "metrics": [{"type": entry["metric"], "value": entry["after"], "name": f"{entry['metric']} after unlearning"}],
    }


def _dump(front: dict[str, Any]) -> str:
    import yaml

    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n"


def _section(facts: Mapping[str, Any]) -> str:
    base = Path(str(facts.get("model", "a checkpoint")))
    name = str(facts["model"]) if facts.get("hub_id") else base.name
    tool = f"srmu {facts.get('srmu_version', '')}".rstrip()
    blocks = [
        "# Unlearned with srmu",
        f"This checkpoint is {markdown_code(name)} after unlearning by {tool} "
        "([SRMU](https://arxiv.org/abs/2512.16297)). It differs from that base in the tensors listed below and in "
        "nothing else but this card.",
        *_data_block(facts.get("data") or []),
        *_method_block(facts),
        *_results_block(facts.get("results") or []),
        "## Check it, rebuild it",
        "```\nsrmu verify RUN --base BASE\nsrmu apply BASE RUN/delta.safetensors OUT\n```",
        "`RUN` is the run directory, whose manifest lists the hash of every file here; `BASE` is the base checkpoint.",
        "## Limits",
        "Unlearning lowers what the model says about the forget texts; it does not prove that the knowledge "
        "is gone. Fine-tuning, also on other texts, can bring some of it back. What neither the forget nor "
        "the retain texts mention may have suffered. Measure both before you rely on this checkpoint.",
    ]
    return "\n\n".join(blocks) + "\n"


def _data_block(data: Sequence[Mapping[str, Any]]) -> list[str]:
    if not data:
        return []
    rows = [
        (
            entry.get("role", ""),
            entry.get("source", ""),
            entry.get("documents", ""),
            entry.get("rows", ""),
            str(entry.get("sha256", ""))[:16],
        )
        for entry in data
    ]
    return [
        "## What was forgotten and what was kept",
        "Texts are named by count and hash; none is reproduced here.",
        _table(("role", "source", "documents", "rows", "sha256 (first 16)"), rows),
    ]


def _method_block(facts: Mapping[str, Any]) -> list[str]:
    blocks = ["## How"]
    lines = [
        f"- {label}: {markdown_code(facts[key])}"
        for key, label in (("method", "method"), ("preset", "preset"), ("layer", "tapped layer (from 0)"))
        if facts.get(key) is not None
    ]
    lines += [f"- changed: {markdown_code(tensor)}" for tensor in facts.get("changed") or []]
    if lines:
        blocks.append("\n".join(lines))
    if settings := facts.get("settings"):
        assumed = facts.get("assumed") or {}
        rows = [(key, value, assumed.get(key, "")) for key, value in settings.items()]
        blocks.append(_table(("setting", "value", "assumed"), rows))
    return blocks if len(blocks) > 1 else []


def _results_block(results: Sequence[Mapping[str, Any]]) -> list[str]:
    if not results:
        return []
    rows = [
        (
            entry["group"],
            entry["metric"],
            entry.get("n", ""),
            _number(entry["before"]),
            _number(entry["after"]),
        )
        for entry in results
    ]
    return ["## Before and after", _table(("group", "metric", "n", "before", "after"), rows)]


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(map(markdown, cells)) + " |"

    return "\n".join([line(head), "|" + " --- |" * len(head), *(line(row) for row in rows)])
