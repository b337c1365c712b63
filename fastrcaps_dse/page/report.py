"""The report: one HTML file with its data and plotly inside; it opens offline and asks nothing of anybody."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fastrcaps_dse import figures
from fastrcaps_dse.objectives import Objective, counted, format_value, shown
from fastrcaps_dse.space import design_to_dict
from fastrcaps_dse.store import EpochRow, StudyRow, TrialRow

if TYPE_CHECKING:
    import plotly.graph_objects as go

SHOWN_CURVES = 12  # designs whose curves are drawn, the front's first

STYLE = """
:root { color-scheme: light; --ink: #1f2933; --faint: #52606d; --line: #d9e2ec; --front: #fdf1ea; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1200px; padding: 24px 20px 64px; color: var(--ink); background: #fff;
       font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; }
h1 { font-size: 26px; margin: 0; } h2 { font-size: 18px; margin: 36px 0 8px; }
p { margin: 4px 0; color: var(--faint); max-width: 80ch; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(480px, 100%), 1fr)); gap: 16px; }
.pair section { min-width: 0; }
.scroll { overflow-x: auto; } .scatter { height: 600px; } .curve { height: 440px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; } th.text, td.text { text-align: left; }
tr.front { background: var(--front); } tr.failed td { color: #9b1c1c; }
code { background: #f0f4f8; padding: 1px 5px; border-radius: 4px; }
"""


RESIZE = "<script>document.querySelectorAll('.js-plotly-plot').forEach(plot => Plotly.Plots.resize(plot))</script>"
"""A plot takes its width when it is drawn, before the plot beside it is there."""


def render(
    study: StudyRow,
    trials: Sequence[TrialRow],
    front: Sequence[TrialRow],
    epochs_of: Mapping[int, Sequence[EpochRow]],
    objectives: Sequence[Objective],
) -> str:
    """The report of a study as HTML. `epochs_of` maps run ids to epochs."""
    members = {trial.trial for trial in front}
    ordered = sorted(trials, key=lambda t: t.trial not in members)[:SHOWN_CURVES]
    curves = figures.curves_info(
        sorted(ordered, key=lambda t: t.trial), epochs_of, epochs=study.identity["epochs"], images=study.train_images
    )
    scatter = figures.pareto_figure(figures.pareto_info(trials, front, objectives))
    done = sum(trial.state == "done" for trial in trials)
    summary = (
        f"{study.identity['dataset']}, protocol {study.identity['protocol']}, {study.identity['epochs']} epochs, "
        f"{counted(study.identity['seeds'], 'seed')}, {done} of {len(trials)} designs measured, {len(front)} on the front"
    )
    protocol = {
        "validation": "Accuracy is measured on training images held out to select the epoch; test accuracy once, at that epoch.",
        "paper": "Accuracy is the highest over the epochs on the test set, as the paper measures it.",
    }[study.identity["protocol"]]
    sections = [
        f"<h1>{html.escape(study.name)}</h1><p>{html.escape(summary)}.</p><p>{protocol} Time is the training time up to the end "
        "of the epoch of the highest accuracy, evaluation excluded.</p>",
        "<h2>Pareto front</h2><p>The numbers are those of the trials in the table below.</p>",
        _plot(scatter, "scatter", library=True),
        "<div class='pair'><section><h2>Accuracy over epochs</h2>",
        _plot(figures.accuracy_figure(curves), "curve"),
        "</section><section><h2>Learning rate over epochs</h2>",
        _plot(figures.rate_figure(curves), "curve"),
        "</section></div>",
        "<h2>Designs</h2>",
        _table(trials, members, objectives),
    ]
    if len(trials) > SHOWN_CURVES:
        sections.insert(-2, f"<p>Curves of {SHOWN_CURVES} of {len(trials)} designs, the front's first.</p>")
    title = html.escape(f"{study.name} - fastrcaps-dse")
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
        f"<meta name='viewport' content='width=device-width, initial-scale=1'><link rel='icon' href='data:,'>"
        f"<style>{STYLE}</style></head><body>{''.join(sections)}{RESIZE}</body></html>"
    )


def _plot(figure: go.Figure, kind: str, *, library: bool = False) -> str:
    options = {"displaylogo": False, "responsive": True, "showSendToCloud": False}
    plot = figure.to_html(full_html=False, include_plotlyjs=library, config=options, default_height="100%")
    return f"<div class='{kind}'>{plot}</div>"


def _table(trials: Sequence[TrialRow], members: set[int], objectives: Sequence[Objective]) -> str:
    heads = ["trial", "design", "lr policy", "batch schedule", "weight sharing", "decoder"]
    heads += [o.title for o in shown(objectives)] + ["test accuracy", "selected epoch", "seeds"]
    texts = set(heads[1:6])
    head = "".join(f"<th{' class=text' if h in texts else ''}>{h}</th>" for h in heads)
    rows = []
    for trial in sorted(trials, key=lambda t: (t.trial not in members, t.trial)):
        design, measured = design_to_dict(trial.design), trial.measurement
        texts_of = [trial.design.label, *(str(design[k]) for k in ("lr_policy", "batch_schedule"))]
        texts_of += ["yes" if trial.design.weight_sharing else "no", trial.design.decoder]
        if measured is None:
            reason = next((run.reason for run in trial.runs if run.reason), "running")
            state = html.escape(f"{trial.state}: {reason}" if trial.state == "failed" else "running")
            numbers = ["-"] * (len(shown(objectives)) + 2) + [state]
        else:
            numbers = [format_value(o.name, measured.value(o)) for o in shown(objectives)]
            test = measured.test_acc
            numbers += [
                format_value("acc", test) if test is not None else "-",
                str(measured.selected_epoch or "-"),
                str(trial.seeds),
            ]
        cells = [f"<td>{trial.trial}</td>", *(f"<td class=text>{html.escape(t)}</td>" for t in texts_of)]
        cells += [f"<td>{n}</td>" for n in numbers]
        kind = "front" if trial.trial in members else trial.state
        rows.append(f"<tr class={kind}>{''.join(cells)}</tr>")
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
