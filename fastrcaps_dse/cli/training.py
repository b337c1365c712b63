"""One design: `train`, `find-lr`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastrcaps_dse.cli.app import (
    FAILED,
    DataDirOption,
    DatasetOption,
    DeviceOption,
    EpochsOption,
    JsonOption,
    PrecisionOption,
    ProtocolOption,
    SeedsOption,
    StorageOption,
    app,
    hint,
    open_store,
    print_json,
    write_text,
)
from fastrcaps_dse.cli.designs import print_trial
from fastrcaps_dse.cli.progress import run_session
from fastrcaps_dse.errors import InputError


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
    from fastrcaps_dse.problem.space import parse_design
    from fastrcaps_dse.problem.study_spec import single_design_study

    point = parse_design(design)
    spec = single_design_study(
        point, name=study, dataset=dataset or "mnist-sample", epochs=epochs, seeds=seeds, protocol=protocol, seed=seed
    )
    outcome = run_session(spec, storage, 1, each_epoch=True, data_dir=data_dir, device=device, precision=precision)
    ours = open_store(storage)
    trial = ours.trials(outcome.study)[0]
    print_trial(ours, outcome.study, trial, as_json)
    if trial.state == "failed":
        raise typer.Exit(FAILED)


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
    from fastrcaps_dse import data, trainer
    from fastrcaps_dse.figures import plots
    from fastrcaps_dse.problem.space import parse_design

    if steps < 10 or not 0 < low < high:
        raise InputError("a range test needs at least 10 steps and 0 < --from < --to", "e.g. --steps 100 --from 1e-6 --to 0.1")
    point = parse_design(design)
    place = trainer.choose_device(device)
    loaded = data.load(dataset or "mnist-sample", data_dir)
    training = trainer.Training(
        point, seed, loaded, epochs=1, device=place, precision=trainer.choose_precision(place, precision)
    )
    test = trainer.range_test(training, steps=steps, lr_start=low, lr_end=high)
    found = test.suggestion()
    write_text(plot, plots.page_of(plots.range_test_figure(test.rates, test.losses, found)))
    if as_json:
        print_json({"rates": test.rates, "losses": test.losses, "suggestion": found})
    elif found:
        print(f"the loss falls fastest near {found[1]:.2e}: try lr_min {found[0]:.1e}, lr_max {found[1]:.1e}")
    else:
        print("the loss falls nowhere in this range: try more steps, or another range")
    hint(f"plot: {plot}")
