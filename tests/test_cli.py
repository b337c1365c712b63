"""The command line as a person uses it: what goes where, the exit codes, one clear line for each wrong input."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastrcaps_dse.data import SAMPLES
from fastrcaps_dse.problem.space import NAMED_DESIGNS
from tests.conftest import Command
from tests.synthetic import write_study

STUDY = """
dataset = "{dataset}"
epochs = 2
trials = 3
[space]
lr_policy = ["fixed", "one-cycle"]
batch_schedule = [16]
weight_sharing = [false, true]
decoder = ["small"]
"""  # 4 designs; ws is a named one


@pytest.fixture
def study(tmp_path: Path, tiny: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY.format(dataset=tiny))
    return path


@pytest.mark.slow
@pytest.mark.usefixtures("small_capsnet")
def test_a_whole_session(command: Command, study: Path, tmp_path: Path) -> None:
    explored = command("explore", study, "--objectives", "acc,time,params", "--device", "cpu", "--precision", "float32")
    assert explored.code == 0 and "on the Pareto front" in explored.out
    assert "next: fastrcaps-dse pick --max-params 7M" in explored.err and "[3/3] trial 2" in explored.err
    warnings = [line for line in explored.err.splitlines() if "warning" in line.lower() and "a noisy machine" not in line]
    assert "trial 0: fixed · b16 · ws+small:" in explored.err and not warnings

    front = json.loads(command("front", "--json").out)
    assert front["study"] == "tiny"
    assert front["objectives"] == [
        {"name": "acc", "unit": "%", "direction": "maximize"},
        {"name": "time", "unit": "s", "direction": "minimize"},
        {"name": "params", "unit": "parameters", "direction": "minimize"},
    ]
    for design in front["designs"]:
        assert {"lr_policy", "batch_schedule", "weight_sharing", "decoder"} <= design["design"].keys()
        assert design["values"].keys() == {"acc", "time", "params", "epochs", "macs", "memory"} and design["seeds"] == 1
        assert Path(design["weights"]).is_file()
    rows = list(csv.DictReader(io.StringIO(command("front", "--csv").out)))
    assert [int(r["trial"]) for r in rows] == [d["trial"] for d in front["designs"]]
    assert float(rows[0]["acc"]) == front["designs"][0]["values"]["acc"] == max(d["values"]["acc"] for d in front["designs"])

    picked = command("pick", "--max-params", "7M")
    assert picked.code == 0 and "why:" in picked.out and "weights: studies/fastrcaps.runs/" in picked.out
    said = json.loads(command("pick", "--max-params", "7M", "--json").out)
    assert said["limits"] == [{"objective": "params", "bound": "max", "value": 7e6}] and said["nearest_miss"] is None
    assert said["pick"]["values"]["params"] <= 7_000_000 and said["why"]

    nothing = command("pick", "--max-params", "10k")
    assert nothing.code == 3 and "nothing satisfies the limits" in nothing.err and nothing.out.startswith("trial ")
    miss = command("pick", "--max-params", "10k", "--json")
    assert miss.code == 3 and json.loads(miss.out)["pick"] is None and json.loads(miss.out)["nearest_miss"]["trial"] >= 0

    shown = command("show", "0")
    assert "epoch   2: batch  16" in shown.out and "selected: epoch" in shown.out and "lr_policy:" in shown.out
    assert len(json.loads(command("show", "0", "--json").out)["runs"][0]["epochs"]) == 2
    assert json.loads(command("studies", "--json").out)[0]["designs"] == 3 and "tiny" in command("studies").out
    assert next(iter(csv.DictReader(io.StringIO(command("studies", "--csv").out))))["front"] == str(len(front["designs"]))
    report = command("report")
    assert report.out == "reports/tiny.html\n" and (tmp_path / "reports/tiny.html").stat().st_size > 5e5

    again = command("explore", study, "--trials", 9, "--device", "cpu", "--precision", "float32")
    assert "design space is exhausted: all its 4 designs" in again.err and again.err.count("] trial ") == 1
    assert command("explore", study, "--trials", 2, "--device", "cpu").code == 0


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.thorough
def test_interrupted_and_continued_by_the_command_it_prints(tiny: Path, tmp_path: Path) -> None:
    space = 'network = ["lenet5"]\nlr_policy = ["fixed"]\nbatch_schedule = [8, 16, 32]'
    text = f'dataset = "{tiny}"\ntime = "measured"\nepochs = 60\ntrials = 3\n[space]\n{space}\n'
    (tmp_path / "tiny.toml").write_text(text, encoding="utf-8")
    arguments = [sys.executable, "-m", "fastrcaps_dse", "explore", "tiny.toml", "--device", "cpu"]
    with subprocess.Popen(arguments, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not list(tmp_path.rglob("last.safetensors")):
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate()
    assert child.returncode == 130 and "nothing is lost" in err and "Traceback" not in err
    assert "fastrcaps-dse explore tiny.toml --device cpu" in err
    ended = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "continuing trial 0" in ended.stderr and "[3/3]" in ended.stderr
    database = sqlite3.connect(tmp_path / "studies/fastrcaps.db")
    assert database.execute("SELECT count(*), count(DISTINCT design_key) FROM fastrcaps_run").fetchone() == (3, 3)
    database.close()


@pytest.mark.slow
def test_train_one_named_design(command: Command, tiny: Path) -> None:
    trained = command("train", "--design", "lenet5", "--dataset", tiny, "--epochs", 2, "--device", "cpu")
    assert trained.code == 0 and trained.err.count("epoch ") >= 2 and "trial 0: lenet5" in trained.out
    failed = command("train", "--design", "network=lenet5 lr_policy=fixed(lr=1e30)", "--dataset", tiny, "--epochs", 2)
    assert failed.code == 1 and "not finite" in failed.out + failed.err


def test_find_lr(command: Command, tmp_path: Path, tiny: Path) -> None:
    said = command("find-lr", "--design", "lenet5", "--dataset", tiny, "--steps", 20, "--json")
    found = json.loads(said.out)
    assert len(found["rates"]) == len(found["losses"]) <= 20 and (tmp_path / "reports/find-lr.html").stat().st_size > 5e5


@pytest.mark.slow
@pytest.mark.usefixtures("small_capsnet")
def test_a_dry_run_trains_nothing(command: Command, study: Path, tmp_path: Path) -> None:
    plan = command("explore", study, "--dry-run")
    assert plan.code == 0 and "3 of 4 designs, 1 run of each" in plan.out and "estimated time on this machine" in plan.out
    assert not (tmp_path / "studies").exists()
    assert json.loads(command("explore", study, "--dry-run", "--json").out)["designs"] == 3


@pytest.mark.slow
def test_doctor(command: Command) -> None:
    told = command("doctor")
    assert told.code == 0 and all(f"data: {name}:" in told.out for name in SAMPLES) and "precision:" in told.out
    assert all({"what", "ok", "finding"} == f.keys() for f in json.loads(command("doctor", "--json").out))


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (["explore", "--objectives", "acc,tme"], 2, "unknown objective 'tme'", "did you mean 'time'"),
        (["explore", "--objectives", "acc,acc"], 2, "'acc' is given twice", "once"),
        (["explore", "--dataset", "mnst"], 2, "unknown data set 'mnst'", "did you mean 'mnist'"),
        (["explore", "--sampler", "tp"], 2, "unknown sampler 'tp'", "did you mean 'tpe'"),
        (["explore", "--protocol", "papr"], 2, "unknown protocol", "did you mean 'paper'"),
        (["explore", "--trials", "0"], 2, "trials must be at least 1", ""),
        (["explore", "--trials", "-3"], 2, "trials must be at least 1", ""),
        (["explore", "--epochs", "0"], 2, "epochs must be at least 1", ""),
        (["explore", "--seeds", "-1"], 2, "seeds must be at least 1", ""),
        (["explore", "--epochs", "two"], 2, "Invalid value for '--epochs'", "explore --help"),
        (["explore", "quik"], 2, "no study file 'quik'", "did you mean 'quick'"),
        (["explore", "gone.toml"], 2, "no study file gone.toml", "studies/"),
        (["explore", "--device", "tpu"], 2, "no device 'tpu'", "cpu"),
        (["explore", "--precision", "int4"], 2, "unknown precision", "float32"),
        (["explore", "--dataset", "kmnist"], 1, "cannot be downloaded", "--data-dir"),
        (["explore", "--storage", "nosuch://x/y"], 2, "is not the URL of a database", "sqlite:///"),
        (["explore", "--storage", "sqlite:////proc/none/s.db"], 1, "cannot be made", "--storage"),
        (["train", "--design", "wab+wz"], 2, "unknown design", "did you mean 'wab+ws'"),
        (["train", "--design", "lr_policy=fixd"], 2, "unknown learning-rate policy", "did you mean 'fixed'"),
        (["train"], 2, "Missing option", "--help"),
        (["pick", "--max-params", "7Q"], 2, "'7Q' is not a quantity for params", "7M, 6.7e6 or 500k"),
        (["pick"], 2, "there is no database studies/fastrcaps.db yet", "fastrcaps-dse explore"),
        (["pick", "--max-parms", "7M"], 2, "No such option", "pick --help"),
        (["front"], 2, "there is no database", "explore"),
        (["exploer"], 2, "No such command", "--help"),
        (["find-lr", "--steps", "1"], 2, "at least 10 steps", "--steps"),
    ],
)
def test_wrong_input_is_one_clear_line(
    command: Command, arguments: list[str], code: int, message: str, hint: str, tmp_path: Path
) -> None:
    said = command(*arguments)
    assert said.code == code and not said.out
    lines = said.err.strip().splitlines()
    assert len(lines) <= 2 and lines[0].startswith("error: ") and message in lines[0]
    assert hint in said.err and "Traceback" not in said.err
    assert not list(tmp_path.rglob("*.db"))


@pytest.mark.slow
def test_wrong_input_beside_a_study(command: Command, study: Path) -> None:
    lenet = study.read_text().replace("weight_sharing = [false, true]\ndecoder", 'network = ["lenet5"]\ndecoder')
    study.write_text(lenet.replace('decoder = ["small"]', ""))
    assert command("explore", study, "--trials", 1).code == 0
    for arguments, code, message in (
        (["explore", study, "--epochs", 3], 2, "was started differently: epochs: 2 there, 3 here"),
        (["show", 9], 2, "there is no trial 9"),
        (["front", "--study", "tny"], 2, "there is no study 'tny'"),
        (["pick", "--prefer", "nee"], 2, "cannot prefer 'nee'"),
        (["pick", "--min-acc", "90", "--max-acc", "80"], 2, "contradict"),
        (["report", "--out", "/proc/none/x.html"], 1, "cannot be written"),
    ):
        said = command(*arguments)
        assert said.code == code and message in said.err and not said.out
    broken = command("explore", study, "--study", "b", "--dataset", study.parent)
    assert broken.code == 2 and "holds no data set" in broken.err
    Path("notes.db").write_bytes(b"no database, just words " * 50)
    for arguments in (["front"], ["explore", study]):
        said = command(*arguments, "--storage", "notes.db")
        assert said.code == 2 and "notes.db is not a database" in said.err
    assert json.loads(command("studies", "--json").out)[0]["designs"] == 1  # nothing was lost


def test_no_password_reaches_the_screen(command: Command) -> None:
    said = command("front", "--storage", "postgresql://ann:s3cret@127.0.0.1:1/none")
    assert said.code == 1 and "s3cret" not in said.err + said.out


def test_help_names_every_command_and_option(command: Command) -> None:
    root = command("--help")
    for name in ("explore", "front", "pick", "train", "find-lr", "show", "report", "studies", "doctor"):
        assert name in root.out
        assert "Usage" in command(name, "--help").out
    assert command().code == 2
    assert re.fullmatch(r"fastrcaps-dse \d+\.\d+\.\d+\n", command("--version").out)


@pytest.mark.slow
def test_output_to_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    write_study(tmp_path / "studies" / "fastrcaps.db", 100).close()  # more text than a pipe's buffer takes at once
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "fastrcaps_dse", "trials", "--csv"],
        cwd=tmp_path,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert not done.stderr


def test_the_named_designs_are_the_papers() -> None:
    assert len(NAMED_DESIGNS) == 8


@pytest.mark.slow
@pytest.mark.usefixtures("small_capsnet")
def test_limits_before_training(command: Command, study: Path) -> None:
    nothing = command("explore", study, "--max-params", "1k", "--time", "measured")
    assert nothing.code == 3 and "no design of the space satisfies params <= 1,000" in nothing.err
    assert "loosen the limits" in nothing.err
    explored = command(
        "explore", study, "--max-params", "6.3M", "--limit", "macs<=200M", "--time", "measured", "--device", "cpu"
    )
    assert explored.code == 0
    designs = json.loads(command("front", "--json").out)["designs"]
    assert designs and all(d["values"]["macs"] <= 200e6 for d in designs)
    picked = command("pick", "--limit", "epochs<=2", "--limit", "memory<=100MB", "--prefer", "params")
    assert picked.code == 0 and "memory <= 100 MB does not bind" in picked.out
    assert command("pick", "--limit", "latency<=2ms").code == 2
    shown = command("show", 0)
    assert ", by the clock\n" in shown.out


@pytest.mark.slow
@pytest.mark.usefixtures("small_capsnet")
def test_budgets(command: Command, study: Path) -> None:
    assert "is not a quantity for time" in command("explore", study, "--budget", "soon").err
    done = command("explore", study, "--until-exhausted", "--device", "cpu")
    assert done.code == 0 and "exhausted" not in done.err.split("next:")[-1] and "[4/4]" in done.err
    again = command("explore", study, "--budget", "1h", "--device", "cpu")
    assert again.code == 0 and "the design space is exhausted: all its 4 designs are measured" in again.err
    assert "by the clock" in command("show", 0).out


@pytest.mark.slow
@pytest.mark.usefixtures("small_capsnet")
def test_racing_and_a_guided_search_that_prunes(command: Command, study: Path) -> None:
    explored = command(
        "explore",
        study,
        "--sampler",
        "guided",
        "--pruning",
        "on",
        "--objectives",
        "acc,params,epochs",
        "--max-seeds",
        3,
        "--device",
        "cpu",
    )
    assert explored.code == 0 and "further run" in explored.err
    front = json.loads(command("front", "--json").out)
    designs = front["designs"] + front["tied"]
    assert max(d["seeds"] for d in designs) > 1 and all(d["tied"] for d in front["tied"])
    chances = [d["on_front"] for d in designs]
    assert all(p is None for p in chances) or all(0 <= p <= 1 for p in chances)
    unknown = command("explore", study, "--pruning", "later")
    assert unknown.code == 2 and "known: off, safe, on" in unknown.err


@pytest.mark.slow
@pytest.mark.usefixtures("small_capsnet")
def test_the_log_is_shown_when_asked_for(command: Command, study: Path) -> None:
    first = ("explore", study, "--trials", "1", "--device", "cpu")
    assert "info:" not in command(*first).err
    again = command(*first, "--study", "again", "--verbose").err
    assert "info: run 2: taken over from run 1 of another study" in again
    assert "info:" not in command(*first, "--study", "third").err  # it holds for one command


def test_options_come_in_panels(command: Command) -> None:
    said = command("explore", "--help").out
    panels = [said.index(title) for title in ("What to explore", "Limits", "How to spend the time", "Where it runs")]
    assert panels == sorted(panels)
    assert (
        panels[0]
        < said.index("--dataset")
        < panels[1]
        < said.index("--max-params")
        < panels[2]
        < said.index("--budget")
        < panels[3]
    )


@pytest.mark.slow
@pytest.mark.usefixtures("small_capsnet")
def test_it_says_what_another_hour_is_expected_to_gain_and_ends_by_it(command: Command, study: Path) -> None:
    """The threshold is above any gain, so that the first look, after eight designs, ends the search."""
    more = (
        "--set",
        "space.batch_schedule=[16, 32, 64, 128]",
        "--set",
        "space.lr_policy=['fixed', 'one-cycle']",
        "--device",
        "cpu",
    )
    ended = command("explore", study, "--study", "hour", *more, "--until-gain-below", "99%")
    assert ended.code == 0 and "--until-gain-below is reached after 8 trials" in ended.err
    assert "another hour of training is expected to gain about" in ended.err and "budget" not in ended.err
    assert "--until-gain-below needs a share" in command("explore", study, "--until-gain-below", "some").err
