"""The paper, checked, in words and tables: what the page and the Markdown file show alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastrcaps_dse.analysis.claims import Claim
from fastrcaps_dse.analysis.outcomes import Selection
from fastrcaps_dse.analysis.paired import LEVEL, MeanInterval, pairs_to_decide
from fastrcaps_dse.analysis.published import EPOCHS, IMAGES, SEEDS, TITLES
from fastrcaps_dse.analysis.reproduction import DesignRow, Finding, Reproduction, stated
from fastrcaps_dse.problem.quantities import counted
from fastrcaps_dse.store import TrialRow

SELECTED: dict[Selection, str] = {
    "held-out": "Epochs selected on held-out images",
    "test": "Epochs selected on the test set, as in the paper",
}
SHORT: dict[Selection, str] = {"held-out": "held-out selection", "test": "test-set selection"}
PROTOCOL_TEXTS = {
    "validation": "validation: held-out training images select the epoch, the test set is evaluated once, at that epoch",
    "both": "both: held-out training images select the epoch; the test set is evaluated after each epoch, too, and decides nothing",
    "paper": "paper: the epoch of the highest test accuracy is selected, as the paper does",
    "all-images": "all-images: all training images train; here, the epoch of the highest test accuracy is selected, as the paper does",
}
ONLY_ONE: dict[Selection, str] = {
    "held-out": "This study has evaluated the test set at the selected epoch alone, so the paper's number, the highest test accuracy "
    "over all epochs, is not known. The protocol both has both.",
    "test": "This study selects the epoch on the test set, so its accuracies are too high by an unknown amount. The protocol both "
    "shows by how much.",
}


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table for reading. Further lines of a cell say more of its first."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = (0,)  # columns of words, which are set to the left


# --- numbers ------------------------------------------------------------------------------------------------------------


def mean_text(found: MeanInterval, digits: int, unit: str = "") -> str:
    """A mean with its standard error: "99.37 ± 0.02 %"; without it for one seed."""
    error = "" if found.error is None else f" ± {found.error:,.{digits}f}"
    return f"{found.mean:,.{digits}f}{error}{f' {unit}' if unit else ''}"


def interval_text(low: float | None, high: float | None, digits: int, *, signed: bool = False) -> str:
    """A 95 % interval: "[99.31, 99.43]"; a dash if there is none."""
    sign = "+" if signed else ""
    return "-" if low is None or high is None else f"[{low:{sign},.{digits}f}, {high:{sign},.{digits}f}]"


def effect_text(claim: Claim, value: float) -> str:
    """An effect in the unit of its claim, with its sign."""
    if claim.unit == "points":
        return f"{value:+.2f} points"
    return f"{value:+,.1f} epochs" if claim.unit == "epochs" else f"{value:+,.1f} %"


def p_text(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def here_text(found: Finding) -> str:
    """What the study says of a claim: the effect; its interval and the corrected p value; the test and the number of seeds."""
    if found.effect is None:
        return found.why
    claim, test = found.claim, found.test
    effect = ("at most " if test is not None and test.censored else "") + effect_text(claim, found.effect)
    numbers = []
    if found.low is not None:
        numbers.append(interval_text(found.low, found.high, 2 if claim.unit == "points" else 1, signed=True))
    if found.p_for is not None and found.p_against is not None:
        against = found.p_against < found.p_for
        numbers.append(p_text(found.p_against if against else found.p_for) + (" against it" if against else ""))
    return "\n".join(filter(None, [effect, ", ".join(numbers), found.why]))


def paper_text(claim: Claim, data: str | None) -> str:
    """What the paper says of a claim; a dash for a data set that it does not have."""
    said = stated(claim, data)
    if said is None:
        return "-"
    effect = "" if said.effect is None else f"{effect_text(claim, said.effect)}: "
    return effect + said.text + (f" ({said.remark})" if said.remark else "")


# --- tables -------------------------------------------------------------------------------------------------------------


def claim_table(found: Reproduction) -> TextTable:
    """claim | paper | here | verdict, with the last two once for each way to select the epoch."""
    several = len(found.selections) > 1
    heads = ["claim", f"paper{f', {TITLES[found.data]}' if found.data else ''}"]
    for selection in found.selections:
        heads += [f"here, {SHORT[selection]}", "verdict"] if several else ["here", "verdict"]
    rows = []
    for findings in zip(*(found.findings[selection] for selection in found.selections), strict=True):
        cells = [findings[0].claim.text, paper_text(findings[0].claim, found.data)]
        for one in findings:
            cells += [here_text(one), one.verdict]
        rows.append(tuple(cells))
    return TextTable(heads=tuple(heads), rows=tuple(rows), words=tuple(range(len(heads))))


def design_table(found: Reproduction) -> TextTable:
    """A row for each design: accuracy, epoch and seconds with standard errors and 95 % intervals, beside the paper's numbers."""
    several = len(found.selections) > 1
    ways = [f", {SHORT[selection]}" if several else "" for selection in found.selections]
    heads = ["design", "seeds", *(f"test accuracy (%){way}" for way in ways)]
    heads += ["selection on the test set adds (points)"] if several else []
    heads += ["paper (%)", *(f"epoch of the maximum{way}" for way in ways), "paper's epoch"]
    heads += [*(f"seconds to it{way}" for way in ways), "parameters"]
    return TextTable(heads=tuple(heads), rows=tuple(_design_cells(row, found) for row in found.rows))


def _design_cells(row: DesignRow, found: Reproduction) -> tuple[str, ...]:
    reached, paper = [row.reached[selection] for selection in found.selections], row.paper
    longest = max(one.seconds.mean for one in reached)
    return (
        row.name,
        str(len(row.seeds)),
        *(mean_cell(one.acc, 2) for one in reached),
        *(() if row.gain is None else (mean_cell(row.gain, 3),)),
        "-" if paper is None else f"{paper.acc:.2f}",
        *(mean_cell(one.epoch, 1) for one in reached),
        "-" if paper is None else paper.epoch_text or str(paper.epoch),
        *(mean_cell(one.seconds, 0 if longest >= 100 else 1) for one in reached),
        f"{row.params:,}",
    )


def mean_cell(found: MeanInterval, digits: int) -> str:
    """A mean with its standard error, and its 95 % interval in a line of its own."""
    interval = "" if found.low is None else f"\n{interval_text(found.low, found.high, digits)}"
    return mean_text(found, digits) + interval


# --- words --------------------------------------------------------------------------------------------------------------


def trained_facts(found: Reproduction, trials: Sequence[TrialRow]) -> list[tuple[str, str]]:
    """What was trained, beside what the paper trained: (name, value)."""
    study, identity = found.study, found.study.identity
    runs = [run for trial in trials for run in trial.runs if run.measurement is not None]
    devices = sorted({f"{run.device} in {run.precision}" for run in runs if run.device})
    clock = "the clock" if identity.get("time") == "measured" else "steps times the seconds of a step measured alone"
    seeds = sorted({len(row.seeds) for row in found.rows})
    images = f"{study.train_images:,}"
    if identity.get("train_images"):
        images += ", a class-balanced subset"
    scaled = "; decay steps scaled to the length of the run" if identity.get("scale_decay") else ""
    return [
        ("Data set", f"{identity['dataset']}{'' if found.data is None else f' (paper: {TITLES[found.data]})'}"),
        ("Training images", f"{images} (paper: {IMAGES:,})"),
        ("Epochs", f"{identity['epochs']}{scaled} (paper: {EPOCHS})"),
        ("Seeds", f"{' to '.join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))} (paper: {SEEDS})"),
        ("Protocol", PROTOCOL_TEXTS[identity["protocol"]]),
        ("Device", f"{', '.join(devices) or 'not stored'}; seconds by {clock} (paper: GTX 1080 Ti)"),
    ]


def summary_lines(found: Reproduction) -> list[str]:
    """How many claims are supported, contradicted and open: a line for each way to select the epoch."""
    lines = []
    for selection in found.selections:
        verdicts = [one.verdict for one in found.findings[selection]]
        counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in ("supported", "contradicted", "open"))
        lines.append(f"{SELECTED[selection]}: {counts}, of {len(verdicts)} claims")
    return lines


def notes(found: Reproduction, trials: Sequence[TrialRow]) -> list[str]:
    """What to know about the numbers: what is missing, what is left out, and what the selection of the epoch does."""
    lines = []
    if found.gain is not None:
        adds = f"{mean_text(found.gain, 3)} points {interval_text(found.gain.low, found.gain.high, 3)}".removesuffix(" -")
        lines.append(f"Selecting the epoch on the test set adds {adds} to the accuracy, the mean over the designs.")
    elif len(found.selections) == 1:
        lines.append(ONLY_ONE[found.selections[0]])
    lines += few_seeds(found)
    if found.missing:
        lines.append(
            f"The study lacks {', '.join(found.missing)}. Claims about them stay open, and are not counted in the correction."
        )
    if found.left_out:
        lines.append(f"Left out: {'; '.join(found.left_out)}.")
    if found.at_chance:
        lines.append(
            f"Some runs have learned nothing: their accuracy stays at chance ({'; '.join(found.at_chance)}). Their epoch and seconds "
            "of the maximum do not say how fast they are."
        )
    if found.data is None:
        lines.append("The paper has no numbers for this data set.")
    elif found.study.train_images < IMAGES or found.study.identity["epochs"] < EPOCHS:
        lines.append(
            "This study trains less than the paper does, so accuracies and seconds of both differ for that reason, too."
        )
    if len({run.device for trial in trials for run in trial.runs if run.measurement is not None}) > 1:
        lines.append(
            "Its runs were trained on several devices: seconds compare only as far as they are counted in the steps of one."
        )
    if any(trial.time_estimated for trial in trials):
        lines.append("Some seconds are estimated, as the device whose steps count has not measured all of them.")
    return lines


def few_seeds(found: Reproduction) -> list[str]:
    """A line where claims are open that no seed could have decided, as the sign test has too few of them."""
    least = needed = 0
    for findings in found.findings.values():
        tests = [one.test for one in findings if one.test is not None and one.test.method is not None]
        enough = pairs_to_decide(len(tests), LEVEL) if tests else 0
        few = [test.n for test in tests if test.method == "sign" and test.n < enough]
        if few and enough > needed:
            least, needed = min(few), enough
    if not needed:
        return []
    return [
        f"With {counted(least, 'seed')} a sign test gives p = {0.5**least:.3g} at best, before the correction. From {needed} seeds on it "
        "can decide a claim, whatever is found for the others."
    ]


READING = (
    "Each claim is tested over seeds: two designs are compared by pairs of runs with the same seed. A positive effect is in favor of the "
    "claim; the loss of weight sharing is judged against -0.3 points. In brackets is the 95 % interval of the mean effect. p is one-sided, "
    "and corrected for the number of claims by Holm's method. Supported: p < 0.05 for the claim. Contradicted: p < 0.05 against it. Open: "
    "neither."
)
MEANS = (
    "Means over the seeds ± one standard error, and Student's 95 % interval. Seconds are those of training up to the epoch of the "
    "maximum."
)
SPEEDS = (
    "Means over the seeds, by the accuracies that select the epoch, as in all figures: those on held-out images where the study has "
    "some, else on the test set. The epochs to Fixed's highest accuracy are those after which the mean of the seeds first reaches the "
    "highest that this mean has for Fixed. LeNet5 is compared with its own fixed learning rate."
)
