"""Tables of the docs, made from `benchmarks/results/*.json`."""

import json
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


def attack_rows() -> str:
    """Every row of the relearning attacks."""
    lines = [
        "| arena, request | method | attack | rate, steps | before | after | base after | recovery | utility | seeds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in read("attacks.json")["rows"]:
        numbers = [
            number(row.get(key)) for key in ("forget_before", "forget_after", "base_after", "recovery", "utility")
        ]
        rate = f"{row['learning_rate']:g}" if row.get("learning_rate") else ""
        steps = f", {row['steps']}" if row.get("steps") else ""
        lines.append(
            f"| {row['arena']}, {row['request']} | {row['method']} | {row['attack']} | {rate}{steps} "
            f"| {' | '.join(numbers)} | {len(row.get('seeds', []))} |"
        )
    return "\n".join(lines)


def number(value: float | None) -> str:
    """Two digits, or nothing."""
    return "" if value is None else f"{value:.2f}"
