"""What `srmu unlearn` prints: the plan of a dry run, and the tables at the end."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from srmu.cli.console import TerminalReporter, facts, notes, output, print_json, table
from srmu.cli.gate import show_verdicts
from srmu.config.settings import UnlearnConfig
from srmu.errors import Interrupted
from srmu.results.gate import check_requirements, passed
from srmu.runtime.processes import main_process
from srmu.runtime.progress import Reporter
from srmu.solver.stopping import LIKELY_STEPS, MOST_STEPS


def run_and_show(config: UnlearnConfig | None, *, dry_run: bool, json_output: bool, resume: Path | None = None) -> int:
    """Run, resume, or plan only; then print."""
    from srmu.job.plan import refuse_strings
    from srmu.job.unlearn import resume as resume_run
    from srmu.job.unlearn import unlearn

    # Of several processes one speaks.
    reporter = TerminalReporter() if main_process() else Reporter()
    try:
        if resume is not None:
            result = resume_run(resume, reporter=reporter)
        else:
            assert config is not None
            refuse_strings(config)
            if dry_run:
                return show_plan(config, json_output=json_output) if main_process() else 0
            result = unlearn(config, reporter=reporter)
    except Interrupted as interruption:
        if main_process():
            notes.print(str(interruption), soft_wrap=True)
        return interruption.exit_code
    requirements = result.manifest["config"]["require"]
    verdicts = check_requirements(requirements, result.results) if requirements else []
    if not main_process():
        return 0 if passed(verdicts) else 1
    if json_output:
        record = {"run_dir": str(result.run_dir), "model_dir": str(result.model_dir), **result.results}
        print_json(record | ({"gate": [asdict(verdict) for verdict in verdicts]} if verdicts else {}))
    else:
        show_result(result)
        if verdicts:
            show_verdicts(verdicts, "Acceptance criteria")
    return 0 if passed(verdicts) else 1


def show_plan(config: UnlearnConfig, *, json_output: bool) -> int:
    """What would be trained, on what, at what cost; nothing is written."""
    from srmu.export.run_directory import check_output
    from srmu.job.estimate import estimate
    from srmu.job.plan import make_plan

    out = check_output(config)
    plan = make_plan(config, out=out)
    cost = estimate(plan)
    record = {
        "model": str(plan.checkpoint.path),
        "out": str(out),
        "layer": plan.layer_id,
        "num_layers": plan.num_layers,
        "trained": {str(layer): list(names) for layer, names in plan.parameter_names.items()},
        "trained_parameters": plan.num_trained,
        "device": str(plan.device),
        "dtype": str(plan.dtype).removeprefix("torch."),
        "topics": [
            {
                "name": topic.name,
                "forget_documents": len(topic.forget.documents),
                "retain_documents": [len(corpus.documents) for corpus in topic.retain],
                "read_as": topic.forget.read_as,
                "notes": [note for corpus in (topic.forget, *topic.retain) for note in corpus.notes],
                "writes_self": topic.writes_self,
            }
            for topic in plan.topics
        ],
        **cost,
    }
    if json_output:
        print_json(record)
        return 0
    rows = [
        ("base", f"{record['model']} ({plan.num_layers} layers)"),
        ("run directory", str(out)),
        ("method", f"{config.method}, preset {config.preset}"),
        ("loss at layer", str(plan.layer_id)),
        ("trained", ", ".join(f"{layer}: {' '.join(names)}" for layer, names in plan.parameter_names.items())),
        ("trained parameters", f"{plan.num_trained:,}"),
        ("device, compute dtype", f"{record['device']}, {record['dtype']}"),
    ]
    for topic in plan.topics:
        retain = " + ".join([str(len(corpus.documents)) for corpus in topic.retain] + ["self"] * topic.writes_self)
        rows.append((f"texts of {topic.name!r}", f"{len(topic.forget.documents)} to forget, {retain} to retain"))
        for side, corpora in (("forget", [topic.forget]), ("retain", topic.retain)):
            rows += [(f"{side} texts", line) for corpus in corpora for line in (corpus.read_as, *corpus.notes) if line]
    if config.auto:
        from srmu.job.tuning.auto import PROCEDURE

        trials = f"in at most {PROCEDURE.trials} trials"
        rows.append(("--auto", f"chooses layer, retain weight, coefficient and rate {trials}"))
    rows += [
        ("training", f"about {cost['training_seconds']:.0f} s for {_steps(config)}"),
        ("memory while training", f"about {cost['training_mb']:,.0f} MB"),
        ("memory while measuring", f"about {cost['measuring_mb']:,.0f} MB" if config.eval else "nothing is measured"),
        ("disk", f"{cost['disk_mb']:,.0f} MB"),
    ]
    output.print(facts("Dry run: nothing is written", rows))
    return 0


def _steps(config: UnlearnConfig) -> str:
    if config.steps == "auto":
        return f"{LIKELY_STEPS} steps; the run takes as many as it needs, at most {MOST_STEPS}"
    return f"{config.steps} steps"


def show_result(result: Any) -> None:
    """The tables at the end of a run."""
    if "auto" in result.manifest:
        output.print(auto_table(result.manifest["auto"]))
    for line in result_tables(result):
        output.print(line)
    for prompt, before, after in result.answers:
        output.print(_one_line(prompt), style="bold")
        output.print(f"  before: {_one_line(before)}")
        output.print(f"  after:  {_one_line(after)}")
    seconds = result.manifest["seconds"]
    parts = ", ".join(f"{stage} {value:.0f} s" for stage, value in seconds.items())
    peak = result.manifest["peak_memory_mb"]
    output.print(f"time: {parts}; peak memory: " + ", ".join(f"{name} {value:,.0f} MB" for name, value in peak.items()))
    output.print(f"checkpoint: {result.model_dir}", soft_wrap=True)
    notes.print(f"Check it with: srmu verify {result.run_dir}", soft_wrap=True)


def auto_table(record: dict[str, Any]) -> Any:
    """What `--auto` tried."""
    rows = []
    for number, trial in enumerate(record["trials"]):
        mark = "chosen" if number == record["chosen"] else ""
        settings = " ".join(f"{name}={value:g}" for name, value in trial["settings"].items())
        measured = ["diverged", "", ""]
        if "error" not in trial:
            measured = [f"{100 * trial[name]:.1f} %" for name in ("remaining", "kept")] + [f"{trial['lost']:+.3f}"]
        rows.append([settings, mark, *measured, f"{trial['seconds']:.0f}"])
    columns = ["", "", "remains", "kept", "lost nats", "s"]
    return table(f"Request taken for {record['request']!r}: settings tried", columns, rows, num_texts=2)


def result_tables(result: Any) -> list[Any]:
    """Tables of held-out texts and of questions; none where the run did not measure."""
    tables = []
    texts = result.results.get("texts", {})
    if texts:
        rows = [
            [
                name,
                f"{entry['base']['num_tokens']:,}",
                f"{entry['base']['nll']:.3f}",
                f"{entry['result']['nll']:.3f}",
                _signed(entry["nll"]),
                f"{100 * entry['predictions_changed']:.1f} %",
                f"{entry['moved']:.3f}" if "moved" in entry else "",
            ]
            for name, entry in texts.items()
        ]
        columns = ["", "tokens", "before", "after", "change", "top changed", "moved at l"]
        tables.append(table("Loss on held-out texts, nats a token", columns, rows))
    questions = result.results.get("questions", {})
    if questions:
        rows = [
            [
                name,
                str(entry["base"]["n"]),
                _with_error(entry["base"]),
                _with_error(entry["result"]),
                _signed(entry["change"]["accuracy"]),
                f"{entry['base']['accuracy_raw']:.3f}",
                f"{entry['result']['accuracy_raw']:.3f}",
            ]
            for name, entry in questions.items()
        ]
        columns = ["", "n", "before", "after", "change", "raw before", "raw after"]
        tables.append(table("Accuracy on questions, by answer likelihood", columns, rows))
    return tables


def _with_error(entry: dict[str, Any]) -> str:
    error = entry["stderr"]
    return f"{entry['accuracy']:.3f}" + ("" if error is None else f" ±{error:.3f}")


def _signed(change: dict[str, Any]) -> str:
    error = change["stderr"]
    return f"{change['difference']:+.3f}" + ("" if error is None else f" ±{error:.3f}")


def _one_line(text: str) -> str:
    return " ".join(text.split())
