"""A study file to start from: `init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastrcaps_dse.cli.app import app, hint, say
from fastrcaps_dse.errors import InputError, MachineError

TEMPLATE = """\
# A study file: what to explore, and how. Every key is here with its default, all but a small space commented out.
# Run it with `fastrcaps-dse explore FILE`; `--dry-run` says what that takes. docs/study-files.md explains the keys.

# name = "mine"                      # of the study in the database; default the name of this file
# dataset = "mnist-sample"           # a data set by name, or a folder or file of your own
# relabel = false                    # true numbers the classes that occur 0, 1, 2, ..., if the labels have gaps
# test_share = 0.2                   # share of the images of each class that is for testing, of data without a test set (no default)
# train_images = 6000                # how many of the training images train, the same of each class (no default)
# protocol = "validation"            # held-out images select the epoch; "both": each epoch is tested, too; "paper", "all-images"
epochs = 2                           # of a run; default 30
# seeds = 1                          # runs of each design, averaged
trials = 4                           # designs to try; default 20
# within = "2m"                      # training time by estimate: a slower machine tries fewer designs, at least 5 (no default)
# sampler = "guided"                 # what proposes designs; or "freeze-thaw" (anytime), "tpe", "nsga2", "gp", "random", "exhaustive"
# seed = 0                           # of the sampler, and the first seed of each design's runs
# objectives = ["acc", "time", "params"]  # what is compared; also "epochs", "macs", "memory", "latency", "robust", "time_to:ACC"
# first = ["lr_policy=one-cycle decoder=small"]  # designs to try first; default: the paper's eight, as far as the space has them
# time = "steps"                     # training time: steps times the seconds of one, measured alone; or "measured" by the clock
# anytime = false                    # true: a design after each of its epochs is a result, too; sampler "freeze-thaw" by default
# scale_decay = false                # true: decay_steps are those of the paper's run, and scale with the length of this one
# pruning = "off"                    # "safe" or "on" ends runs early that cannot enter the front

[space]                              # the values of each dimension of a design
# default: lr_policy = ["fixed", "exp-decay", "one-cycle", "warm-restarts", "warm-restarts(cycle=phase)"]
lr_policy = ["one-cycle", "warm-restarts"]  # also "warm-restarts-poly", "fine-tune"
# default: batch_schedule = [1, 16, 128, "adabatch"]
batch_schedule = [16, 32]            # batch sizes, and schedules: "adabatch", "adabatch-p"
# weight_sharing = [false, true]     # one weight matrix for each capsule type instead of one for each input capsule
decoder = ["small"]                  # default ["full", "small"]; the small decoder takes in a single capsule
# network = ["capsnet"]              # or "lenet5"
# routing_iterations = [3]           # 1 to 10
# shift = [2]                        # pixels, 0 to 8, by which training images are shifted at random
# flip = [false]                     # true mirrors training images left-right at random; not for digits or letters

[space.fields]                       # fields of policies and schedules: a list of values, or a range
lr_max = { low = 5e-4, high = 5e-3, log = true }  # of one-cycle and warm restarts; default 1e-3
# lr = [1e-3]                        # of fixed, exp-decay and fine-tune
# lr_min = [1e-4]                    # of one-cycle and warm restarts
# decay = [0.96]                     # of exp-decay, for each decay_steps
# decay_steps = [2000]               # of exp-decay
# half = { low = 0.3, high = 0.5, step = 0.05 }  # of one-cycle: share of the run for its rise; default 0.45
# cycle = [1]                        # of warm restarts, in epochs; or "phase": a cycle for each batch size
# power = [0.9]                      # of warm-restarts-poly
# tail_lr = [1e-5]                   # of fine-tune: the rate of its last steps
# tail = [0.2]                       # of fine-tune: the share of the steps of the run that these are
# size = [16]                        # of fixed batch sizes, written as "fixed" in batch_schedule
# head_batch = [1]                   # of adabatch and adabatch-p: the batch size of the first epochs
# head_epochs = [3]                  # of adabatch and adabatch-p: how many these are, of a run of 30
# tail_batch = [16]                  # of adabatch: the batch size after them
# p = [3]                            # of adabatch-p: the batch sizes after them are 2^p, 2^(p+1), 2^(p+2)
"""


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="The study file to write.", metavar="FILE")] = Path("mine.toml"),
) -> None:
    """Write a study file to start from: every key with its meaning and default."""
    if path.suffix != ".toml":
        raise InputError(
            f"a study file ends in .toml, not as {path.name!r}", f"e.g. fastrcaps-dse init {path.with_suffix('.toml')}"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:  # refuses one that is there, also if it was made just now
            file.write(TEMPLATE)
    except FileExistsError:
        raise InputError(f"{path} is there already", "name another file, or delete that one first") from None
    except OSError as error:
        raise MachineError(f"{path} cannot be written: {error.strerror}", "name another file") from None
    say(path)
    hint(f"next: fastrcaps-dse explore {path} --dry-run")
