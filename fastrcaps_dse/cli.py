"""The command line: thin. Data on stdout; progress, warnings and hints on stderr. Heavy modules are imported where they are used."""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from fastrcaps_dse import __version__
from fastrcaps_dse.errors import InputError, MachineError, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastrcaps_dse.objectives import Objective
    from fastrcaps_dse.picks import Limit
    from fastrcaps_dse.session import Outcome
    from fastrcaps_dse.store import Store, StudyRow, TrialRow
    from fastrcaps_dse.studyspec import StudySpec

app = typer.Typer(
    name="fastrcaps-dse",
    help="Find the Capsule Network that suits your data and goals: explore its design space, see the Pareto front, pick.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

NOTHING_FITS, INTERRUPTED = 3, 130

StorageOption = Annotated[
    str | None,
    typer.Option("--storage", help="SQLAlchemy URL or SQLite file; default FASTRCAPS_STORAGE or studies/fastrcaps.db."),
]
StudyOption = Annotated[str | None, typer.Option("--study", help="Name of the study; default the newest.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
ObjectivesOption = Annotated[
    str | None, typer.Option("--objectives", help="Any of acc,time,params; default the study's.", metavar="NAMES")
]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="Where data sets are, and are downloaded to; default data/.")
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="cuda, mps or cpu; default the first that is there.")]
PrecisionOption = Annotated[
    str | None, typer.Option("--precision", help="Of the convolutions: float32 or bfloat16; default what the device does fast.")
]
DatasetOption = Annotated[str | None, typer.Option("--dataset", help="A name (see `doctor`) or a folder of your own.")]
EpochsOption = Annotated[int | None, typer.Option("--epochs", help="Epochs of a run.")]
SeedsOption = Annotated[int | None, typer.Option("--seeds", help="Runs of each design, averaged.")]
ProtocolOption = Annotated[
    str | None,
    typer.Option("--protocol", help="validation (select on held-out images, test once) or paper (select on the test set)."),
]


def main() -> None:
    """The entry point: every error that a person can cause or cure is two lines on stderr and an exit code."""
    try:
        app()
    except UserError as error:
        _fail(error)
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as error:
        _fail(MachineError(str(error), "check free space and permissions"))
    except Exception as error:
        if os.environ.get("FASTRCAPS_DEBUG"):
            raise
        _fail(UserError(f"a fault of fastrcaps-dse itself: {type(error).__name__}: {error}", "FASTRCAPS_DEBUG=1 shows where"))


def _fail(error: UserError) -> NoReturn:
    print(f"error: {error.message}", file=sys.stderr)
    if error.mend:
        print(f"mend:  {error.mend}", file=sys.stderr)
    sys.exit(error.exit_code)


def _hint(text: str) -> None:
    print(text, file=sys.stderr)


def _version(value: bool) -> None:
    if value:
        print(f"fastrcaps-dse {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


# --- explore and train ------------------------------------------------------------------------------------------------


@app.command()
def explore(
    study_file: Annotated[
        str, typer.Argument(help="A study file, or the name of one in studies/.", metavar="[STUDY_FILE]")
    ] = "quick",
    objectives: ObjectivesOption = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials", help="Designs the study shall have in all; default the file's, and as many again when they are done."
        ),
    ] = None,
    epochs: EpochsOption = None,
    seeds: SeedsOption = None,
    dataset: DatasetOption = None,
    data_dir: DataDirOption = None,
    protocol: ProtocolOption = None,
    sampler: Annotated[str | None, typer.Option("--sampler", help="tpe, nsga2, gp, random or exhaustive.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the sampler, and the first of the runs' seeds.")] = None,
    study: Annotated[str | None, typer.Option("--study", help="Name of the study; default the file's.")] = None,
    storage: StorageOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be trained and its estimated cost; train nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a study, or continue it where it was stopped."""
    from fastrcaps_dse.objectives import parse_objectives
    from fastrcaps_dse.studyspec import override

    spec = _load_spec(study_file)
    if dataset is not None and dataset != spec.dataset and study is None:
        study = f"{spec.name}-{Path(dataset).name}"
    if trials is not None and trials < 1:
        raise InputError(f"trials must be at least 1, got {trials}", "e.g. --trials 20")
    spec = override(
        spec,
        objectives=parse_objectives(objectives) if objectives is not None else None,
        trials=trials,
        epochs=epochs,
        seeds=seeds,
        dataset=dataset,
        protocol=protocol,
        sampler=sampler,
        seed=seed,
        name=study,
    )
    if dry_run:
        _print_plan(spec, data_dir, device, precision, as_json)
        return
    outcome = _explore(spec, storage, trials, data_dir, device, precision)
    if outcome.exhausted:
        _hint(f"the design space is exhausted: all its {outcome.trials} designs are measured")
    _print_front(storage, spec.name, None, as_json=as_json, as_csv=False)
    suffix = "" if storage is None else f" --storage {shlex.quote(storage)}"
    _hint(f"\nnext: fastrcaps-dse pick --max-params 7M{suffix}    (or: front, show TRIAL, report)")


def _explore(
    spec: StudySpec,
    storage: str | None,
    trials: int | None,
    data_dir: Path | None,
    device: str | None,
    precision: str | None,
    *,
    each_epoch: bool = False,
) -> Outcome:
    """Run a session with its progress shown; an interruption prints the command that continues."""
    from fastrcaps_dse import console, store
    from fastrcaps_dse.session import Session

    signal.signal(signal.SIGTERM, _interrupt)
    url = store.parse_url(storage or store.default_url())
    try:
        with (console.TrainingProgress if each_epoch else console.ExplorationProgress)() as progress:
            session = Session(spec, url, progress, data_dir=data_dir, device=device, precision=precision)
            if not each_epoch:
                _hint(
                    f"study {spec.name}: {spec.dataset}, {spec.epochs} epochs, {spec.seeds} seed(s), sampler {spec.sampler}, "
                    f"on {session.device.type} in {session.precision}"
                )
            return session.run(trials)
    except KeyboardInterrupt:
        command = ["fastrcaps-dse", *sys.argv[1:]]
        _hint(f"\ninterrupted; nothing is lost. Continue with:\n  {shlex.join(command)}")
        raise typer.Exit(INTERRUPTED) from None


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _load_spec(name: str) -> StudySpec:
    """A study file by path, or by name from studies/ here or from those that are installed."""
    from importlib.resources import files

    from fastrcaps_dse.studyspec import load_study, parse_study

    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        return load_study(path)
    here = Path("studies") / f"{name}.toml"
    if here.exists():
        return load_study(here)
    installed = files("fastrcaps_dse") / "studies" / f"{name}.toml"
    if installed.is_file():
        return parse_study(installed.read_text(encoding="utf-8"), default_name=name, source=f"{name}.toml")
    return load_study(here)


def _print_plan(spec: StudySpec, data_dir: Path | None, device: str | None, precision: str | None, as_json: bool) -> None:
    from fastrcaps_dse import session
    from fastrcaps_dse.objectives import format_seconds
    from fastrcaps_dse.space import design_to_dict

    planned, total = session.plan(spec, data_dir=data_dir, device=device, precision=precision)
    if as_json:
        designs = [
            {
                "label": d.point.label,
                "design": design_to_dict(d.point),
                "params": d.params,
                "steps": d.steps,
                "seconds": d.seconds,
            }
            for d in planned
        ]
        print(
            json.dumps(
                {"study": spec.name, "first": designs, "trials": spec.trials, "seeds": spec.seeds, "seconds": total}, indent=2
            )
        )
        return
    size = spec.space.size()
    print(
        f"study {spec.name}: {spec.trials} of {'infinitely many' if size is None else size} designs, {spec.seeds} run(s) of each,"
    )
    print(f"{spec.epochs} epochs of {spec.dataset}, protocol {spec.protocol}, sampler {spec.sampler}. First:")
    for design in planned[: spec.trials]:
        print(
            f"  {design.point.label:32} {design.params:>11,} params {design.steps:>9,} steps  about {format_seconds(design.seconds)} a run"
        )
    if spec.trials > len(planned):
        print(f"  then {spec.trials - len(planned)} that the sampler proposes")
    print(f"estimated training time on this machine: {format_seconds(total)}")


@app.command()
def train(
    design: Annotated[
        str,
        typer.Option("--design", help="A named design, e.g. wab+ws, or dimensions, e.g. 'lr_policy=one-cycle decoder=small'."),
    ],
    dataset: DatasetOption = None,
    data_dir: DataDirOption = None,
    epochs: EpochsOption = None,
    seeds: SeedsOption = None,
    protocol: ProtocolOption = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the (first) run.")] = 0,
    study: Annotated[str | None, typer.Option("--study", help="Name of the study that keeps the run.")] = None,
    storage: StorageOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train one design, or continue it where it was stopped; a line for each epoch."""
    from fastrcaps_dse.space import parse_design
    from fastrcaps_dse.studyspec import single_design_study

    point = parse_design(design)
    spec = single_design_study(
        point, name=study, dataset=dataset or "mnist-sample", epochs=epochs, seeds=seeds, protocol=protocol, seed=seed
    )
    outcome = _explore(spec, storage, 1, data_dir, device, precision, each_epoch=True)
    ours = _open(storage)
    trial = ours.trials(outcome.study)[0]
    _print_trial(ours, outcome.study, trial, as_json)


@app.command("find-lr")
def find_lr(
    design: Annotated[str, typer.Option("--design", help="A named design or dimensions; its batch size is used.")] = "fixed",
    dataset: DatasetOption = None,
    data_dir: DataDirOption = None,
    steps: Annotated[int, typer.Option("--steps", help="Steps of the test.")] = 100,
    low: Annotated[float, typer.Option("--from", help="Learning rate of the first step.")] = 1e-6,
    high: Annotated[float, typer.Option("--to", help="Learning rate of the last step.")] = 1e-1,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the run.")] = 0,
    plot: Annotated[Path, typer.Option("--plot", help="The HTML file that is written.")] = Path("reports/find-lr.html"),
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    as_json: JsonOption = False,
) -> None:
    """The learning-rate range test: the rate grows every step, the loss is plotted."""
    from fastrcaps_dse import data, figures, trainer
    from fastrcaps_dse.space import parse_design

    if steps < 10 or not 0 < low < high:
        raise InputError("a range test needs at least 10 steps and 0 < --from < --to", "e.g. --steps 100 --from 1e-6 --to 0.1")
    point = parse_design(design)
    place = trainer.choose_device(device)
    loaded = data.load(dataset or "mnist-sample", data_dir)
    training = trainer.Training(
        point, seed, loaded, epochs=1, device=place, precision=trainer.choose_precision(place, precision)
    )
    size = training.timeline.phases[0].batch_size
    pairs = list(trainer.range_test(training, steps=steps, lr_start=low, lr_end=high, batch_size=size))
    if not pairs:
        raise InputError("the loss is not finite from the first step", "start lower: --from 1e-7")
    test = trainer.RangeTest(rates=tuple(r for r, _ in pairs), losses=tuple(loss for _, loss in pairs))
    found = test.suggestion()
    figure = figures.range_test_figure(test.rates, test.losses, found)
    _write(plot, figure.to_html(include_plotlyjs=True, config={"displaylogo": False, "showSendToCloud": False}))
    if as_json:
        print(json.dumps({"rates": test.rates, "losses": test.losses, "suggestion": found}))
    elif found:
        print(f"the loss falls fastest near {found[1]:.2e}: try lr_min {found[0]:.1e}, lr_max {found[1]:.1e}")
    else:
        print("the loss falls nowhere in this range: try more steps, or another range")
    _hint(f"plot: {plot}")


# --- front, pick, show ------------------------------------------------------------------------------------------------


def _open(storage: str | None) -> Store:
    from fastrcaps_dse import store

    return store.Store(store.parse_url(storage or store.default_url()))


def _objectives(study: StudyRow, text: str | None) -> tuple[Objective, ...]:
    from fastrcaps_dse.objectives import parse_objectives

    return parse_objectives(text) if text is not None else study.objectives


def _design_json(trial: TrialRow) -> dict[str, Any]:
    from fastrcaps_dse.objectives import OBJECTIVES
    from fastrcaps_dse.space import design_to_dict

    measured = trial.measurement
    values = {name: measured.value(o) for name, o in OBJECTIVES.items()} if measured else None
    return {
        "trial": trial.trial,
        "label": trial.design.label,
        "design": design_to_dict(trial.design),
        "values": values,
        "seeds": trial.seeds,
        "test_acc": measured.test_acc if measured else None,
        "weights": next((run.weights for run in trial.runs if run.weights), None),
    }


def _print_front(storage: str | None, name: str | None, objectives: str | None, *, as_json: bool, as_csv: bool) -> None:
    from fastrcaps_dse import console
    from fastrcaps_dse.session import front_of

    ours = _open(storage)
    study = ours.study(name)
    chosen = _objectives(study, objectives)
    trials = ours.trials(study)
    front = sorted(front_of(trials, chosen), key=lambda t: -(t.measurement.acc if t.measurement else 0))
    if as_json:
        stated = [{"name": o.name, "unit": o.unit, "direction": o.direction} for o in chosen]
        print(json.dumps({"study": study.name, "objectives": stated, "designs": [_design_json(t) for t in front]}, indent=2))
    elif as_csv:
        _print_csv(front)
    elif not front:
        _hint(f"the study {study.name!r} has no finished design yet")
    else:
        done = sum(t.state == "done" for t in trials)
        title = f"{study.name}: {len(front)} of {done} designs on the Pareto front ({', '.join(o.name for o in chosen)})"
        console.stdout().print(console.designs_table(front, title))


def _print_csv(trials: Sequence[TrialRow]) -> None:
    writer = csv.writer(sys.stdout)
    rows = [_design_json(trial) for trial in trials]
    if not rows:
        return
    writer.writerow(["trial", "label", *rows[0]["design"], *rows[0]["values"], "seeds", "test_acc", "weights"])
    for row in rows:
        writer.writerow(
            [
                row["trial"],
                row["label"],
                *row["design"].values(),
                *row["values"].values(),
                row["seeds"],
                row["test_acc"],
                row["weights"],
            ]
        )


@app.command()
def front(
    study: StudyOption = None,
    objectives: ObjectivesOption = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """The Pareto front as a table."""
    _print_front(storage, study, objectives, as_json=as_json, as_csv=as_csv)


@app.command()
def pick(
    study: StudyOption = None,
    objectives: ObjectivesOption = None,
    max_params: Annotated[str | None, typer.Option("--max-params", help="At most so many, e.g. 7M.")] = None,
    min_params: Annotated[str | None, typer.Option("--min-params", help="At least so many.")] = None,
    max_time: Annotated[str | None, typer.Option("--max-time", help="At most so long, e.g. 10m.")] = None,
    min_time: Annotated[str | None, typer.Option("--min-time", help="At least so long.")] = None,
    min_acc: Annotated[str | None, typer.Option("--min-acc", help="At least so accurate, in percent, e.g. 99.2.")] = None,
    max_acc: Annotated[str | None, typer.Option("--max-acc", help="At most so accurate.")] = None,
    prefer: Annotated[
        str | None, typer.Option("--prefer", help="acc, time, params or knee; default the first objective without a limit.")
    ] = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """The design for these limits, and why."""
    from fastrcaps_dse import picks

    given = {
        ("params", "max"): max_params,
        ("params", "min"): min_params,
        ("time", "max"): max_time,
        ("time", "min"): min_time,
        ("acc", "min"): min_acc,
        ("acc", "max"): max_acc,
    }
    limits = [picks.parse_limit(name, bound, text) for (name, bound), text in given.items() if text is not None]
    ours = _open(storage)
    row = ours.study(study)
    trials = [trial for trial in ours.trials(row) if trial.measurement is not None]
    candidates = [_candidate(trial) for trial in trials]
    result = picks.pick(candidates, _objectives(row, objectives), limits, prefer)
    by_number = {trial.trial: trial for trial in trials}
    if as_json:
        print(json.dumps(_pick_json(row, limits, result, by_number), indent=2))
    elif result.trial is not None:
        _print_pick(by_number[result.trial], result.why)
    else:
        _hint("nothing satisfies the limits")
        for line in result.why:
            _hint(f"  {line}")
        if result.nearest_miss is not None:
            _hint("nearest miss:")
            print(_one_line(by_number[result.nearest_miss]))
    if result.trial is None:
        raise typer.Exit(NOTHING_FITS)


def _candidate(trial: TrialRow) -> Any:
    from fastrcaps_dse.objectives import OBJECTIVES
    from fastrcaps_dse.picks import Candidate

    assert trial.measurement is not None
    values = {name: trial.measurement.value(o) for name, o in OBJECTIVES.items()}
    return Candidate(trial=trial.trial, label=trial.design.label, values=values)


def _pick_json(study: StudyRow, limits: Sequence[Limit], result: Any, trials: dict[int, TrialRow]) -> dict[str, Any]:
    def design(number: int | None) -> dict[str, Any] | None:
        return None if number is None else _design_json(trials[number])

    return {
        "study": study.name,
        "limits": [{"objective": limit.objective, "bound": limit.bound, "value": limit.value} for limit in limits],
        "pick": design(result.trial),
        "why": list(result.why),
        "nearest_miss": design(result.nearest_miss),
    }


def _one_line(trial: TrialRow) -> str:
    from fastrcaps_dse.objectives import OBJECTIVES, format_value

    assert trial.measurement is not None
    values = ", ".join(f"{name} {format_value(name, trial.measurement.value(o))}" for name, o in OBJECTIVES.items())
    return f"trial {trial.trial}: {trial.design.label}: {values}"


def _print_pick(trial: TrialRow, why: Sequence[str]) -> None:
    print(_one_line(trial))
    print(f"  design:  {trial.design.key}")
    if trial.measurement is not None and trial.measurement.test_acc is not None:
        print(f"  test:    {trial.measurement.test_acc:.2f} % on the test set, at the selected epoch")
    weights = next((run.weights for run in trial.runs if run.weights), None)
    print(f"  weights: {weights or 'not kept: the design is not on the front of its study'}")
    print("why:")
    for line in why:
        print(f"  {line}")


@app.command()
def show(
    trial: Annotated[int, typer.Argument(help="The number of the trial.")],
    study: StudyOption = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """One design in full: its dimensions, its runs, every epoch."""
    ours = _open(storage)
    row = ours.study(study)
    trials = {t.trial: t for t in ours.trials(row)}
    if trial not in trials:
        known = f"trials 0 to {max(trials)}" if trials else "no trial yet"
        raise InputError(f"there is no trial {trial} in the study {row.name!r}", f"it has {known}")
    _print_trial(ours, row, trials[trial], as_json)


def _print_trial(ours: Store, study: StudyRow, trial: TrialRow, as_json: bool) -> None:
    from dataclasses import asdict

    from fastrcaps_dse.console import epoch_line

    runs = [(run, ours.epochs(run.run_id)) for run in trial.runs]
    if as_json:
        details = [
            {
                "seed": run.seed,
                "state": run.state,
                "reason": run.reason,
                "device": run.device,
                "precision": run.precision,
                "software": run.software,
                "measurement": asdict(run.measurement) if run.measurement else None,
                "weights": run.weights,
                "epochs": [asdict(epoch) for epoch in epochs],
            }
            for run, epochs in runs
        ]
        print(json.dumps({"study": study.name, **_design_json(trial), "state": trial.state, "runs": details}, indent=2))
        return
    print(_one_line(trial) if trial.measurement else f"trial {trial.trial}: {trial.design.label}: {trial.state}")
    print(f"  study:  {study.name} ({study.identity['dataset']}, protocol {study.identity['protocol']})")
    for name, value in (item.split("=", 1) for item in trial.design.key.split()):
        print(f"  {name + ':':20} {value}")
    for run, epochs in runs:
        print(f"run with seed {run.seed}: {run.state}" + (f": {run.reason}" if run.reason else ""))
        print(f"  on {run.device}, {run.precision}; {run.software}")
        for epoch in epochs:
            print(f"  {epoch_line(epoch)}")
        if run.measurement:
            measured = run.measurement
            test = "" if measured.test_acc is None else f", test accuracy {measured.test_acc:.2f} %"
            print(f"  selected: epoch {measured.selected_epoch}{test}; weights: {run.weights or 'not kept'}")


@app.command()
def studies(storage: StorageOption = None, as_json: JsonOption = False, as_csv: CsvOption = False) -> None:
    """The studies of a storage."""
    from rich.table import Table

    from fastrcaps_dse import console
    from fastrcaps_dse.session import front_of

    ours = _open(storage)
    rows = []
    for study in ours.studies():
        trials = ours.trials(study)
        rows.append(
            {
                "study": study.name,
                "dataset": study.identity["dataset"],
                "protocol": study.identity["protocol"],
                "epochs": study.identity["epochs"],
                "seeds": study.identity["seeds"],
                "objectives": ",".join(study.identity["objectives"]),
                "designs": len(trials),
                "failed": sum(t.state == "failed" for t in trials),
                "front": len(front_of(trials, study.objectives)),
            }
        )
    if as_json:
        print(json.dumps(rows, indent=2))
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, rows[0] if rows else ["study"])
        writer.writeheader()
        writer.writerows(rows)
    elif not rows:
        _hint("no study yet: run `fastrcaps-dse explore`")
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in rows[0]:
            table.add_column(name)
        for row in rows:
            table.add_row(*map(str, row.values()))
        console.stdout().print(table)


# --- report and doctor ------------------------------------------------------------------------------------------------


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise MachineError(f"{path} cannot be written: {error.strerror}", "name another file") from None


@app.command()
def report(
    study: StudyOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="The HTML file; default reports/STUDY.html.")] = None,
    objectives: ObjectivesOption = None,
    storage: StorageOption = None,
) -> None:
    """The study as one HTML file that opens offline: front, curves, table."""
    from fastrcaps_dse.page.report import render
    from fastrcaps_dse.session import front_of

    ours = _open(storage)
    row = ours.study(study)
    chosen = _objectives(row, objectives)
    trials = ours.trials(row)
    epochs_of = {run.run_id: ours.epochs(run.run_id) for trial in trials for run in trial.runs}
    path = out or Path("reports") / f"{row.name.replace('/', '-')}.html"
    _write(path, render(row, trials, front_of(trials, chosen), epochs_of, chosen))
    print(path)


@app.command()
def doctor(storage: StorageOption = None, data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """What this machine, its torch, its data and its storage can do."""
    from fastrcaps_dse.doctor import examine

    findings = examine(storage, data_dir)
    if as_json:
        print(json.dumps([{"what": f.what, "ok": f.ok, "finding": f.finding} for f in findings], indent=2))
        return
    for finding in findings:
        print(f"{'ok  ' if finding.ok else '--  '}{finding.what + ':':22} {finding.finding}")


if __name__ == "__main__":
    main()
