"""`latentsr study`: runs the jobs of a study from one file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentsr import terminal
from latentsr.commands.options import Defaults, Device, Out
from latentsr.errors import OptionError, suggestion
from latentsr.provenance import RESEARCH_USE

if TYPE_CHECKING:
    from latentsr.study.nodes import Node

Source = Annotated[
    list[str] | None,
    typer.Option(help="Folder of a dataset, in place of the file's; repeatable.", metavar="NAME=DIR"),
]
Only = Annotated[list[str] | None, typer.Option(help="This arm and what it needs; repeatable.", metavar="ARM")]
Until = Annotated[
    str | None,
    typer.Option(help="The last step to do.", metavar="prepare|fit-vae|screen|encode|train|measure"),
]


def study(
    file: Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="Datasets, autoencoders, arms and measures.")],
    out: Out,
    source: Source = None,
    only: Only = None,
    until: Until = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and keep it; do no job.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Jobs at a time; several share the cores.")] = 1,
    device: Device = "auto",
    config: Defaults = None,
) -> None:
    """Runs a study: prepares, fits, encodes, trains and measures what its arms need, each job once.

    The same command goes on after an interruption, and does what is new after a change of the file.
    """
    from latentsr.report.study import write_study_report
    from latentsr.study.cost import seconds_left
    from latentsr.study.design import read_design
    from latentsr.study.nodes import STEPS, Node, before, jobs_of, nodes_of
    from latentsr.study.results import note_results, results_key, results_written, write_results
    from latentsr.study.runner import DONE, FAILED, SKIPPED, Outcome, done_before, run_study

    if until is not None and until not in STEPS:
        raise OptionError(f"--until {until}: expected {', '.join(STEPS)}{suggestion(until, STEPS)}")
    design = read_design(file, sources=_folders(source or ()))
    ends = every = nodes_of(design)
    if unknown := [arm for arm in only or () if arm not in ends]:
        raise OptionError(f"--only {unknown[0]}: no such arm; expected {', '.join(ends)}{suggestion(unknown[0], ends)}")
    ends = {arm: last for arm, last in ends.items() if not only or arm in only}
    if until is not None:
        steps = STEPS[: STEPS.index(until) + 1]
        ends = {arm: tuple(node for node in before(last) if node.step in steps) for arm, last in ends.items()}
    nodes = jobs_of(ends)
    whole = all(done_before(node, out) for node in nodes)
    if whole:
        terminal.show(f"nothing to do: all {len(nodes)} jobs are done in {out}")
    if dry_run and not whole:
        show_plan(ends, out, device, workers)
    if dry_run or (whole and results_written(results_key(design, every, out), out)):
        return

    lost: set[Node] = set()

    def notify(outcome: Outcome, done: int, total: int) -> None:
        lost.update([] if outcome.state == DONE else [outcome.node])
        left = seconds_left(set(nodes) - lost, out, workers)
        took = f" in {terminal.duration(outcome.seconds)}" if outcome.state == DONE else ""
        how = f": {outcome.message}" if outcome.message else took
        rest = f"; about {terminal.duration(left)} left" if left else ""
        terminal.show(f"[{done}/{total}] {outcome.node.step} {outcome.node.name} {outcome.state}{how}{rest}")

    outcomes = run_study(ends, out, device=device, workers=workers, progress=terminal.progress, notify=notify)
    for sentence in write_results(design, every, out, asked=ends):
        terminal.show_warning(sentence)
    terminal.show(f"report, with its tables beside it: {write_study_report(out, design.name)}. {RESEARCH_USE}")
    note_results(results_key(design, every, out), out)
    if failed := [outcome for outcome in outcomes if outcome.state == FAILED]:
        skipped = sum(outcome.state == SKIPPED for outcome in outcomes)
        terminal.show_error(f"{len(failed)} job(s) failed, {skipped} that need them were skipped; mend and run again")
        raise typer.Exit(1 if any(outcome.state == DONE for outcome in outcomes) else 2)


def _folders(texts: Sequence[str]) -> dict[str, Path]:
    """The folders of texts NAME=DIR, by name."""
    pairs = {text: text.partition("=")[::2] for text in texts}
    if wrong := [text for text, pair in pairs.items() if not all(pair)]:
        raise OptionError(f"--source {wrong[0]}: expected NAME=DIR")
    return {name: Path(folder) for name, folder in pairs.values()}


def show_plan(ends: "Mapping[str, Sequence[Node]]", out: Path, device: str, workers: int) -> None:
    """Every job with its arms and what it will take, and the sum of those that are open."""
    from latentsr.study.cost import costs
    from latentsr.study.nodes import before, jobs_of
    from latentsr.study.runner import done_before

    nodes = jobs_of(ends)
    with terminal.progress("estimate", unit="jobs") as report:
        found = costs(nodes, out, device=device, workers=workers, progress=report)
    arms = {node: [arm for arm, last in ends.items() if node in set(before(last))] for node in nodes}
    rows, ahead = [], []
    for node in nodes:
        cost, record = found[node], done_before(node, out)
        state = f"done in {terminal.duration(record['seconds'])}" if record else "open"
        ahead += [] if record else [cost]
        time, disk, flops = terminal.duration(cost.seconds), f"{cost.disk / 1e6:,.1f}", f"{cost.flops / 1e12:,.3g}"
        which = ", ".join(arms[node]) if len(arms[node]) < 4 else f"{len(arms[node])} arms"
        rows.append([f"{node.step} {node.name}", which, state, time, disk, flops if cost.flops else ""])
    terminal.show_table("plan", ["job", "arms", "state", "time", "disk, MB", "network, TFLOP"], rows)
    seconds, space, work = (sum(getattr(cost, name) for cost in ahead) for name in ("seconds", "disk", "flops"))
    terminal.show(
        f"{len(ahead)} of {len(rows)} jobs open: about {terminal.duration(seconds / workers)} with {workers} "
        f"worker(s), {space / 1e6:,.0f} MB of disk, {work / 1e12:,.3g} TFLOP in networks, "
        f"{max((cost.memory for cost in ahead), default=0) / 1e9:.1f} GB of memory a worker"
    )
