"""Tables of the docs, made from `benchmarks/results/*.json`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
SHOWN = ("default", "srmu difference", "srmu ratio", "adaptive-rmu", "rmu", "npo", "gradient-difference", "robust")
NAMES = {
    "default": "**default, untuned**",
    "srmu difference": "SRMU, difference map, tuned",
    "srmu ratio": "SRMU, ratio map, tuned",
    "adaptive-rmu": "Adaptive RMU, tuned",
    "rmu": "RMU, tuned",
    "npo": "NPO, tuned",
    "gradient-difference": "gradient difference, tuned",
    "robust": "`--preset robust`, untuned",
}
MEASURED = ("forget_before", "forget_after", "base_after", "recovery", "utility")


def read(name: str) -> Any:
    """The content of a results file."""
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def results_summary() -> str:
    """One line per method: what it leaves and keeps of entities and domains, each at its chosen point."""
    rows = {
        (row["method"], row["request"]): row
        for row in read("protocol.json")
        if row["arena"] == "real" and row["retain"] == "both"
    }
    lines = ["| method | entities: left | kept | domain: left | kept |", "|---|---|---|---|---|"]
    for method in SHOWN:
        cells = [cell for kind in ("entities", "domain") for cell in at_chosen_point(rows[method, kind])]
        lines.append(f"| {NAMES[method]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def at_chosen_point(row: dict[str, Any]) -> tuple[str, str]:
    """Mean over requests of what is left, and the worst kept share of any group of any request."""
    requests = row["requests"].values()
    left = sum(request["forget"] for request in requests) / len(requests)
    return f"{left:.2f}", f"{100 * min(request['kept'] for request in requests):.1f} %"


def protocol_rows() -> str:
    """Every row of the protocol."""
    lines = [
        "| arena | request | retain | overlap | method | forget at 98 % | interval | area | questions | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in read("protocol.json"):
        missed = "" if row["reached"] else " (base: 98 % not reached)"
        lines.append(
            f"| {row['arena']} | {row['request']} | {row['retain']} | {100 * row['overlap']:.0f} % | {row['method']} "
            f"| {row['forget_at_98']:.3f}{missed} | {row['ci_low']:.3f} to {row['ci_high']:.3f} | {row['area']:.3f} "
            f"| {row['questions']} | {row['seconds']} |"
        )
    return "\n".join(lines)


def wmdp_parity() -> str:
    """Agreement with lm-evaluation-harness, item by item."""
    lines = [
        "| model, weights | shaped as | items | that agree | accuracy here | the harness's |",
        "|---|---|---|---|---|---|",
    ]
    shapes = {"bio": "`wmdp_bio`", "mmlu": "`mmlu`, two subjects", "bio_cloze": "`wmdp_bio_cloze_verified`"}
    lines += [
        f"| {row['model']}, {row['dtype']} | {shapes[row['part']]} | {row['items']} | {row['items_that_agree']} "
        f"| {row['accuracy']:.4f} | {row['harness_accuracy']:.4f} |"
        for row in read("wmdp_parity.json")
    ]
    return "\n".join(lines)


TITLES = ("before", "after", "base after", "recovery", "utility")
NEEDS = ("nothing", "prompts", "weights", "weights and data")


def attack_worst() -> str:
    """What brought back most, by what an attacker needs: one line per request, method and need, controls left out."""
    titles = ("model, request", "method", "an attacker needs", "worst attack", *TITLES)
    lines = [line(titles), line(["---"] * len(titles))]
    worst: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in read("attacks.json")["rows"]:
        key = (request(row), row["method"], row["needs"])
        if row["recovery"] is None or "_false_" in row["attack"] or row["method"] == "base":
            continue
        if key not in worst or row["recovery"] > worst[key]["recovery"]:
            worst[key] = row
    for key in sorted(worst, key=lambda key: (key[:2], NEEDS.index(key[2]))):
        row = worst[key]
        lines.append(line([*key, place(row), *numbers(row)]))
    return "\n".join(lines)


def selective_rows() -> str:
    """Every row of the selective protocol: base and result of each group."""
    groups = ("forget", "entangled", "neighbours", "other", "audit")
    heads = ("model", "kind", "retain texts", "method", *groups, "fluency", "questions", "seeds")
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row in read("selective.json"):
        pairs = [row["groups"][name] for name in groups] + [row["fluency"]]
        shown = [f"{pair['base']:.2f} to {pair['result']:.2f}" if pair else "none" for pair in pairs]
        forget = row["groups"]["forget"]
        shown[0] += f" ({forget['ci_low']:.2f} to {forget['ci_high']:.2f})"
        cells = [row["model"], row["kind"], row["retain"], row["method"], *shown, row["questions"], row["seeds"]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def tofu_rows() -> str:
    """Every row of the TOFU protocol."""
    titles = (
        "method", "forget quality (log10)", "KS distance", "utility, of the base's", "forgotten answers", "told",
        "told nowhere", "recovery", "trials", "seeds", "seconds",
    )  # fmt: skip
    lines = [line(titles), line(["---"] * len(titles))]
    for row in read("tofu.json"):
        low, high = row["forget_quality_ci"]
        lines.append(
            line(
                [
                    row["method"],
                    f"{row['forget_quality']:.2g} ({row['log10_forget_quality']:.1f}; {low:.1g} to {high:.1g})",
                    f"{row['distance']:.3f}",
                    f"{row['model_utility']:.3f}, {100 * row['utility_of_base']:.1f} %",
                    *(f"{row[f'{name}_probability']:.3f}" for name in ("forget", "told", "untold")),
                    number(row["recovery"]),
                    *(f"{row[name]:g}" for name in ("trials", "seeds", "seconds")),
                ]
            )
        )
    return "\n".join(lines)


def attack_rows() -> str:
    """Every row of the attacks."""
    titles = ("model, request", "method", "attack", *TITLES, "gold standard", "budget", "seeds")
    lines = [line(titles), line(["---"] * len(titles))]
    for row in read("attacks.json")["rows"]:
        about = [number(row["gold_after"]), row["budget"], str(len(row["seeds"]))]
        lines.append(line([request(row), row["method"], place(row), *numbers(row), *about]))
    return "\n".join(lines)


def line(cells: Sequence[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def request(row: dict[str, Any]) -> str:
    """What was forgotten, and on which model."""
    return f"{row['model']}, {row['request']}"


def place(row: dict[str, Any]) -> str:
    """The attack, and where in its sweep."""
    parts = [row["attack"]]
    if row["learning_rate"]:
        parts.append(f"{row['learning_rate']:g}")
    if row["steps"]:
        parts.append(f"{row['steps']} steps")
    elif row["at"] is not None:
        parts.append(f"at {row['at']:g}")
    return ", ".join(parts)


def numbers(row: dict[str, Any]) -> list[str]:
    """What was measured."""
    return [number(row[key]) for key in MEASURED]


def number(value: float | None) -> str:
    """Two digits, or nothing."""
    return "" if value is None else f"{value:.2f}"


FAMILIES = Path(__file__).parent / "reference" / "families.json"
STATUS = {
    "works": "Works",
    "refused": "Refused, and why",
    "fails": "Breaks: please report a case of yours",
    "not built": "Not tried: no tiny model could be made of its config's defaults",
}


def families() -> str:
    """Per status, the model types with what is trained of them, or why it is not."""
    walked = json.loads(FAMILIES.read_text(encoding="utf-8"))
    parts = [f"Transformers {walked['transformers']}, {len(walked['outcomes'])} model types."]
    for status, title in STATUS.items():
        rows = [
            f"| `{found['model_type']}` | {', '.join(map(_code, found['trained'])) or _cell(found['reason'])} |"
            for found in walked["outcomes"]
            if found["status"] == status
        ]
        if rows:
            head = "trained by default" if status == "works" else "reason"
            parts.append("\n".join([f"## {title} ({len(rows)})", "", f"| model type | {head} |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def _code(text: str) -> str:
    return f"`{text}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
