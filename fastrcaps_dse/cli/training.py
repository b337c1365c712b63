"""One design: `train`, `retrain`, `find-lr`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastrcaps_dse.cli.app import FAILED, app, hint, open_store, print_json, say, write_text
from fastrcaps_dse.cli.completing import complete_design, complete_objectives
from fastrcaps_dse.cli.options import (
    DataDirOption,
    DataOptions,
    DeviceOptions,
    JsonOption,
    RunOptions,
    RunsOption,
    StopAfterOption,
    StorageOption,
    StudyOption,
    TrialArgument,
    grouped,
)
from fastrcaps_dse.cli.running import HowToRun, run_study
from fastrcaps_dse.cli.showing import print_trial
from fastrcaps_dse.errors import InputError

if TYPE_CHECKING:
    from fastrcaps_dse.problem.study_spec import StudySpec
    from fastrcaps_dse.store import Store, StudyRow, TrialRow


def _train(spec: StudySpec, how: HowToRun, as_json: bool) -> StudyRow:
    """Train the only design of a study, and print it; the study. Ends the program for a run that failed."""
    outcome, _ = run_study(spec, how, 1, each_epoch=True)
    ours = open_store(how.storage)
    trial = ours.trials(outcome.study)[0]
    print_trial(ours, outcome.study, trial, as_json)
    if trial.state == "failed":
        raise typer.Exit(FAILED)
    return outcome.study


@app.command()
@grouped
def train(
    data: DataOptions,
    run: RunOptions,
    device: DeviceOptions,
    design: Annotated[
        str,
        typer.Option(
            "--design",
            help="A named design, e.g. wab+ws, or dimensions, e.g. 'lr_policy=one-cycle decoder=small'.",
            metavar="DESIGN",
            autocompletion=complete_design,
        ),
    ],
    seed: Annotated[int, typer.Option("--seed", help="Seed of the (first) run.")] = 0,
    objectives: Annotated[
        str | None,
        typer.Option(
            "--objectives",
            help="What is measured, e.g. acc,time,params,robust; default acc,time,params.",
            metavar="NAMES",
            autocompletion=complete_objectives,
        ),
    ] = None,
    study: Annotated[str | None, typer.Option("--study", help="Name of the study that keeps the run.", metavar="NAME")] = None,
    storage: StorageOption = None,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train one design, or continue its training; a line for each epoch."""
    from fastrcaps_dse.problem.objectives import parse_objectives
    from fastrcaps_dse.problem.space import parse_design
    from fastrcaps_dse.problem.study_spec import single_design_study

    point = parse_design(design)
    spec = single_design_study(
        point,
        name=study,
        dataset=data.dataset or "mnist-sample",
        relabel=data.relabel or None,
        test_share=data.test_share,
        train_images=data.train_images,
        scale_decay=run.scale_decay or None,
        epochs=run.epochs,
        seeds=run.seeds,
        protocol=run.protocol,
        objectives=None if objectives is None else parse_objectives(objectives),
        seed=seed,
    )
    how = HowToRun(storage=storage, runs=runs, data_dir=data.data_dir, device=device.device, precision=device.precision)
    _train(spec, how, as_json)


@app.command()
@grouped
def retrain(
    device: DeviceOptions,
    trial: TrialArgument,
    study: StudyOption = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="Number of epochs; default that of the study.", metavar="COUNT")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the run.")] = 0,
    stop_after: StopAfterOption = None,
    all_images: Annotated[
        bool, typer.Option("--all-images", help="Hold out no training images; the last epoch counts.")
    ] = False,
    name: Annotated[str | None, typer.Option("--name", help="Name of the study that keeps the run.", metavar="NAME")] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="The study's images, if they are elsewhere now.", metavar="PATH_OR_NAME")
    ] = None,
    data_dir: DataDirOption = None,
    storage: StorageOption = None,
    runs: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train the design of a trial again, or continue that: for longer, with another seed, or on all training images.

    With --stop-after, make the weights of its run after an epoch again.
    """
    from fastrcaps_dse.analysis.results import find_trial
    from fastrcaps_dse.problem.study_spec import single_design_study
    from fastrcaps_dse.session.stopped import find_stopped
    from fastrcaps_dse.store import named_place

    ours = open_store(storage)
    row = ours.study(study)
    if stop_after is not None:
        if epochs is not None or seed or all_images or name or runs:
            raise InputError("--stop-after makes the weights of a run again as they were", "leave out what changes the run")
        _make_again(ours, row, find_stopped(ours, row, trial, stop_after), dataset, data_dir, as_json)
        return
    identity = row.identity
    spec = single_design_study(
        find_trial(ours.trials(row), trial, row.name).design,
        name=name,
        dataset=dataset or identity["dataset"],
        relabel=identity.get("relabel"),
        test_share=identity.get("test_share"),
        train_images=None if all_images else identity.get("train_images"),
        scale_decay=identity.get("scale_decay"),
        epochs=epochs or identity["epochs"],
        protocol="all-images" if all_images else identity["protocol"],
        objectives=row.objectives,
        time=identity.get("time"),
        seed=seed,
    )
    how = HowToRun(
        storage=storage,
        runs=named_place(runs) or row.runs_place,
        data_dir=data_dir,
        device=device.device,
        precision=device.precision,
    )
    trained = _train(spec, how, as_json)
    hint(f"next, export it: fastrcaps-dse export 0 --study {shlex.quote(trained.name)} --out DIR")


def _make_again(ours: Store, row: StudyRow, point: TrialRow, dataset: str | None, data_dir: Path | None, as_json: bool) -> None:
    """Have the weights of a design that is stopped early, and print where they are."""
    from fastrcaps_dse.session.stopped import stopped_weights

    run, path = stopped_weights(ours, row, point, dataset=dataset, data_dir=data_dir, say=hint)
    assert run.measurement is not None
    if as_json:
        key = {"trial": point.trial, "stop_after": point.stop_after, "seed": run.seed}
        print_json(key | {"epoch": run.measurement.selected_epoch, "weights": str(path)})
    else:
        say(path)
    stop = f"--stop-after {point.stop_after} --study {shlex.quote(row.name)}"
    hint(f"next, export it: fastrcaps-dse export {point.trial} {stop} --out DIR")


@app.command("find-lr")
@grouped
def find_lr(
    data: DataOptions,
    device: DeviceOptions,
    design: Annotated[
        str,
        typer.Option(
            "--design",
            help="A named design, or dimensions; its batch size is used.",
            metavar="DESIGN",
            autocompletion=complete_design,
        ),
    ] = "fixed",
    steps: Annotated[int, typer.Option("--steps", help="Number of steps of the test.", metavar="COUNT")] = 100,
    low: Annotated[float, typer.Option("--from", help="Learning rate of the first step.")] = 1e-6,
    high: Annotated[float, typer.Option("--to", help="Learning rate of the last step.")] = 1e-1,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the run.")] = 0,
    plot: Annotated[Path, typer.Option("--plot", help="The HTML file to write.", metavar="FILE")] = Path(
        "reports/find-lr.html"
    ),
    as_json: JsonOption = False,
) -> None:
    """Run the learning-rate range test: the rate grows every step, and the loss is plotted."""
    from fastrcaps_dse import trainer
    from fastrcaps_dse.data import load, summary_line
    from fastrcaps_dse.figures import plots
    from fastrcaps_dse.problem.space import parse_design

    if steps < 10 or not 0 < low < high:
        raise InputError("a range test needs at least 10 steps and 0 < --from < --to", "e.g. --steps 100 --from 1e-6 --to 0.1")
    point = parse_design(design)
    chosen = trainer.choose_device(device.device)
    loaded = load(
        data.dataset or "mnist-sample",
        data.data_dir,
        relabel=data.relabel,
        test_share=data.test_share,
        train_images=data.train_images,
    )
    hint(f"data: {summary_line(loaded)}")
    precision = trainer.choose_precision(chosen, device.precision)
    with trainer.clear_device_errors():  # of the images and the network
        training = trainer.Training(point, seed, loaded, epochs=1, device=chosen, precision=precision)
    test = trainer.range_test(training, steps=steps, lr_start=low, lr_end=high)
    found = test.suggestion()
    write_text(plot, plots.html_page(plots.range_test_figure(test.rates, test.losses, found)))
    if as_json:
        print_json({"rates": test.rates, "losses": test.losses, "suggestion": found})
    elif found:
        say(f"the loss falls fastest near {found[1]:.2e}: try lr_min {found[0]:.1e}, lr_max {found[1]:.1e}")
    else:
        say("the loss does not fall in this range: try more steps, or another range")
    hint(f"plot: {plot}")
