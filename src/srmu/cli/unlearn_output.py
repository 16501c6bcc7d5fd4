"""What `srmu unlearn` prints: the plan of a dry run, and the tables at the end."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srmu.cli.console import TerminalReporter, facts, notes, output, print_json, show_change, show_number, table
from srmu.cli.gate import show_verdicts
from srmu.config.settings import UnlearnConfig
from srmu.errors import Interrupted
from srmu.results.audit_records import Audit, describe_loss
from srmu.results.fluency_records import FluencyGroup
from srmu.results.gate import check_requirements, passed
from srmu.results.groups import QuestionSummary
from srmu.results.records import Results
from srmu.results.schema import to_json
from srmu.results.study import SearchRecord
from srmu.runtime.processes import main_process
from srmu.runtime.progress import Reporter, in_words
from srmu.solver.stopping import LIKELY_STEPS, MOST_STEPS

if TYPE_CHECKING:
    from srmu.job.forecast import Forecast
    from srmu.job.plan import Plan

WORST_FIELDS = 3


def run_and_show(config: UnlearnConfig, *, dry_run: bool, json_output: bool) -> int:
    """Run, or plan only; then print."""
    from srmu.export.run_directory import check_output
    from srmu.job.unlearn import unlearn

    if dry_run:
        return show_plan(config, json_output=json_output) if main_process() else 0
    config = config.replace(out=str(check_output(config)))
    return _show_work(lambda reporter: unlearn(config, reporter=reporter), json_output=json_output)


def resume_and_show(run_dir: Path, *, json_output: bool) -> int:
    """Go on with an interrupted run; then print."""
    from srmu.job.unlearn import resume

    return _show_work(lambda reporter: resume(run_dir, reporter=reporter), json_output=json_output)


def _show_work(work: Callable[[Reporter], Any], *, json_output: bool) -> int:
    """Do the work and print its result; of several processes one speaks."""
    try:
        result = work(TerminalReporter() if main_process() else Reporter())
    except Interrupted as interruption:
        if main_process():
            notes.print(str(interruption), soft_wrap=True)
        return interruption.exit_code
    requirements = result.manifest.requirements
    verdicts = check_requirements(requirements, result.report) if requirements else []
    if not main_process():
        return 0 if passed(verdicts) else 1
    if json_output:
        record = {"run_dir": str(result.run_dir), "model_dir": str(result.model_dir), **to_json(result.report)}
        print_json(record | ({"gate": [asdict(verdict) for verdict in verdicts]} if verdicts else {}))
    else:
        show_result(result)
        if verdicts:
            show_verdicts(verdicts, "Acceptance criteria")
    # The last line: what nobody asked about is what a user would miss.
    if result.report.audit is not None and (loss := describe_loss(result.report.audit)):
        notes.print(loss, soft_wrap=True)
    return 0 if passed(verdicts) else 1


def show_plan(config: UnlearnConfig, *, json_output: bool) -> int:
    """What would be trained, on what, at what cost; nothing is written."""
    from srmu.export.run_directory import check_output
    from srmu.job.estimate import estimate
    from srmu.job.forecast import forecast
    from srmu.job.plan import make_plan
    from srmu.job.tuning.search import PROCEDURE

    out = check_output(config)
    plan = make_plan(config, out=out)
    cost = estimate(plan)
    time = forecast(plan, Reporter(), trials=PROCEDURE.trials if config.search.search else 1)
    if json_output:
        print_json(_plan_record(plan, str(out)) | cost | {"predicted_seconds": asdict(time)})
    else:
        rows = [*_plan_rows(plan, str(out)), *_time_rows(config, time), *_cost_rows(config, cost)]
        output.print(facts("Dry run: nothing is written", rows))
    return 0


def _plan_record(plan: "Plan", out: str) -> dict[str, object]:
    return {
        "model": str(plan.checkpoint.path),
        "out": out,
        "layer": plan.layer_id,
        "repair_layer": plan.repair_layer,
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
                "written_by_the_base": list(topic.written),
            }
            for topic in plan.topics
        ],
    }


def _plan_rows(plan: "Plan", out: str) -> list[tuple[str, str]]:
    config = plan.config
    rows = [
        ("base", f"{plan.checkpoint.path} ({plan.num_layers} layers)"),
        ("run directory", out),
        ("method", f"{config.target.method}, preset {config.preset}"),
        ("loss at layer", str(plan.layer_id) + (f", repair at {plan.repair_layer}" if plan.repair_layer else "")),
        ("trained", ", ".join(f"{layer}: {' '.join(names)}" for layer, names in plan.parameter_names.items())),
        ("trained parameters", f"{plan.num_trained:,}"),
        ("device, compute dtype", f"{plan.device}, {str(plan.dtype).removeprefix('torch.')}"),
    ]
    for topic in plan.topics:
        retain = " + ".join([*(str(len(corpus.documents)) for corpus in topic.retain), *topic.written])
        rows.append((f"texts of {topic.name!r}", f"{len(topic.forget.documents)} to forget, {retain} to retain"))
        for side, corpora in (("forget", (topic.forget,)), ("retain", topic.retain)):
            rows += [(f"{side} texts", line) for corpus in corpora for line in (corpus.read_as, *corpus.notes) if line]
    return rows


def _time_rows(config: UnlearnConfig, time: "Forecast") -> list[tuple[str, str]]:
    rows = []
    if config.search.search:
        trials = f"in at most {time.most_trials} trials"
        rows.append(("--search", f"chooses layer, retain weight, coefficient and rate {trials}"))
    each = f" in each of {time.most_trials} trials" if time.most_trials > 1 else ""
    if not time.probed:
        return [
            *rows,
            ("training", f"about {in_words(time.seconds)} for {_steps(config)}{each}, by the count of operations"),
        ]
    parts = ", ".join(f"{stage} {in_words(seconds)}" for stage, seconds in time.stages.items())
    return [
        *rows,
        ("whole run", f"about {in_words(time.seconds)}: {parts}"),
        ("of which training", f"{_steps(config)}{each}; timed by a few of them"),
    ]


def _cost_rows(config: UnlearnConfig, cost: Mapping[str, float]) -> list[tuple[str, str]]:
    measuring = f"about {cost['measuring_mb']:,.0f} MB" if config.output.eval else "nothing is measured"
    return [
        ("memory while training", f"about {cost['training_mb']:,.0f} MB"),
        ("memory while measuring", measuring),
        ("disk", f"{cost['disk_mb']:,.0f} MB"),
    ]


def _steps(config: UnlearnConfig) -> str:
    again = ", and as many to repair" if config.target.repair else ""
    if config.training.steps == "auto":
        most = f"at most {MOST_STEPS}" + (" each" if again else "")
        return f"{LIKELY_STEPS} steps{again}; the run takes as many as it needs, {most}"
    return f"{config.training.steps} steps{again}"


def show_result(result: Any) -> None:
    """The tables at the end of a run."""
    if result.manifest.auto is not None:
        output.print(search_table(result.manifest.auto))
    for line in result_tables(result.report):
        output.print(line)
    for answer in result.answers:
        output.print(_one_line(answer.prompt), style="bold")
        output.print(f"  before: {_one_line(answer.base or '')}")
        output.print(f"  after:  {_one_line(answer.result)}")
    parts = ", ".join(f"{stage} {value:.0f} s" for stage, value in result.manifest.seconds.items())
    peak = result.manifest.peak_memory_mb
    output.print(f"time: {parts}; peak memory: " + ", ".join(f"{name} {value:,.0f} MB" for name, value in peak.items()))
    output.print(f"checkpoint: {result.model_dir}", soft_wrap=True)
    notes.print(f"Check it with: srmu verify {result.run_dir}", soft_wrap=True)


def search_table(record: SearchRecord) -> Any:
    """What `--search` tried."""
    rows = []
    for number, trial in enumerate(record.trials):
        mark = "chosen" if number == record.chosen else ""
        settings = " ".join(f"{name}={value:g}" for name, value in trial.settings.items() if not isinstance(value, str))
        measured = ["diverged", "", ""]
        if (found := trial.outcome) is not None:
            measured = [f"{100 * found.remaining:.1f} %", f"{100 * found.kept:.1f} %", f"{found.lost:+.3f}"]
        rows.append([settings, mark, *measured, f"{trial.seconds:.0f}"])
    columns = ["", "", "remains", "kept", "lost nats", "s"]
    return table(f"Request taken for {record.request!r}: settings tried", columns, rows, num_texts=2)


def result_tables(results: Results) -> list[Any]:
    """Tables of held-out texts and of questions; none where the run did not measure."""
    tables = []
    if results.texts:
        rows = [
            [
                name,
                f"{group.result.num_tokens:,}",
                show_number(group.base.nll if group.base else None),
                show_number(group.result.nll),
                show_change(group.changes().get("nll")),
                "" if group.predictions_changed is None else f"{100 * group.predictions_changed:.1f} %",
                "" if group.moved is None else f"{group.moved:.3f}",
            ]
            for name, group in results.texts.items()
        ]
        columns = ["", "tokens", "before", "after", "change", "top changed", "moved at l"]
        tables.append(table("Loss on held-out texts, nats per token", columns, rows))
    if results.questions:
        rows = [
            [
                group.label(name),
                str(group.result.n),
                _with_error(group.base),
                _with_error(group.result),
                show_change(group.changes().get("accuracy")),
                show_number(group.base.accuracy_raw if group.base else None),
                show_number(group.result.accuracy_raw),
            ]
            for name, group in results.questions.items()
        ]
        columns = ["", "n", "before", "after", "change", "raw before", "raw after"]
        tables.append(table("Accuracy on questions, by answer likelihood", columns, rows))
    if results.audit is not None:
        tables.append(audit_table(results.audit))
    if results.fluency is not None:
        tables.append(fluency_table(results.fluency))
    return tables


def fluency_table(group: FluencyGroup) -> Any:
    """Whether answers to forget prompts are still language, and what its score is made of."""
    rows = [
        ["fluency", *map(show_number, (group.base.score, group.result.score)), show_change(group.change)],
        ["pairs of tokens said once", *map(show_number, (group.base.distinct, group.result.distinct)), ""],
        ["letters in the prompt's script", *map(show_number, (group.base.script, group.result.script)), ""],
        ["nats per token by the base", *map(show_number, (group.base.base_nll, group.result.base_nll)), ""],
    ]
    return table(f"Language of {group.base.n} answers to forget prompts", ["", "before", "after", "change"], rows)


def audit_table(audit: Audit) -> Any:
    """What the run took that nobody asked about: the whole, then the worst fields."""
    parts = [*audit.summary, *audit.worst[:WORST_FIELDS]]
    rows = [
        [
            f"  {part.words}" if part in audit.fields else part.words,
            str(part.known),
            f"{part.base:.3f}",
            f"{part.result:.3f}",
            "" if part.kept is None else f"{100 * part.kept:.1f} %",
            "" if part.kept_error is None else f"{100 * part.kept_error:.1f} %",
        ]
        for part in parts
    ]
    return table("Audit of what nobody asked about", ["", "known", "before", "after", "kept", "std. error"], rows)


def _with_error(summary: QuestionSummary | None) -> str:
    if summary is None:
        return ""
    return show_number(summary.accuracy) + ("" if summary.stderr is None else f" ±{summary.stderr:.3f}")


def _one_line(text: str) -> str:
    return " ".join(text.split())
