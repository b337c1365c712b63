"""The page: seconds until it is ready, milliseconds of an interaction, size of the file, memory of the server.

It opens synthetic studies in headless Chromium without a GPU, so that the processor draws everything, the scene in 3D too. An
interaction is timed until the browser has drawn the pick, the table and the parallel view. The panels of the front follow, and are timed
on their own: as all pairs of the objectives, and as the scene in 3D, which a click loads.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from playwright.sync_api import sync_playwright

from benchmarks import record
from fastrcaps_dse.figures.export import find_browser
from tests.synthetic import write_study

OPTIONS = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
INTERACTIONS = {
    "hover": "app.update({ hover: app.study.measured[k % 9].key })",
    "select": "app.toggle(app.study.measured[k % 9].trial)",
    "limit": "app.setLimit('params', `${7 + k / 100}M`)",
    "range": "app.update({ ranges: { params: [6.6e6, 7e6 + 1e5 * k] } })",
    "sort": "app.update({ sort: [k % 2 ? 'acc' : 'time', 'up'] })",
    "filter": "app.update({ filter: k % 2 ? 'one-cycle' : '' })",
}
TIMED = """async ({ act, times }) => {
  const app = fastrcaps; const found = [];
  const run = new Function('app', 'k', act);
  for (let k = 0; k < times; k += 1) {
    const begun = performance.now();
    run(app, k);
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
    found.push(performance.now() - begun);
    await new Promise((done) => setTimeout(done, 400));
  }
  return found;
}"""

SCENE = """async () => {
  const begun = performance.now();
  fastrcaps.update({ view: '3d' });
  while (!document.querySelector('.scene').data) await new Promise((done) => setTimeout(done, 10));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
  return performance.now() - begun;
}"""


def measure(designs: int, passes: int, *, epochs: int, anytime: bool) -> dict[str, Any]:
    """One study: the live page in a view, and the file."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "s.db"
        write_study(path, designs, epochs=epochs)
        browser = playwright.chromium.launch(executable_path=find_browser(), args=OPTIONS)
        command = [sys.executable, "-m", "fastrcaps_dse", "view", "--storage", str(path), "--port", "0", "--no-open"]
        command += ["--anytime"] if anytime else []
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
            assert server.stderr is not None
            address = server.stderr.readline().split()[1]
            time.sleep(10 if anytime else 3)  # it has read the study
            ready: list[float] = []
            complete: list[float] = []
            for _ in range(passes):
                page = browser.new_page(viewport={"width": 1400, "height": 1000}, bypass_csp=True)
                begun = time.perf_counter()
                page.goto(address, wait_until="commit")
                page.wait_for_function("window.ready")
                ready.append(time.perf_counter() - begun)
                page.wait_for_function("window.complete")
                complete.append(time.perf_counter() - begun)
                if len(ready) == passes:
                    times = {name: page.evaluate(TIMED, {"act": act, "times": 7}) for name, act in INTERACTIONS.items()}
                    panels = page.evaluate(TIMED, {"act": "app.views.scatter.draw()", "times": 7})
                    marks = page.evaluate(TIMED, {"act": "app.views.scatter.mark('hover')", "times": 7})
                    scene = page.evaluate(SCENE)
                page.close()
            memory = int(Path(f"/proc/{server.pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
            server.terminate()
        report = Path(folder) / "s.html"
        subprocess.run(
            [sys.executable, "-m", "fastrcaps_dse", "report", "--storage", str(path), "--out", str(report)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        browser.close()
        return {
            "seconds_until_pick_and_table_are_ready": record.spread(ready),
            "seconds_until_all_is_drawn": record.spread(complete),
            "milliseconds_of_an_interaction": {name: record.spread(found) for name, found in times.items()},
            "milliseconds_of_drawing_all_pairs_that_follow": record.spread(panels),
            "milliseconds_of_marking_a_design_in_all_pairs": record.spread(marks),
            "seconds_from_the_click_to_the_scene_in_3d": round(scene / 1000, 2),
            "server_megabytes": round(memory / 1e6, 1),
            "file_megabytes": round(report.stat().st_size / 1e6, 2),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--designs", default="1000,10000")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=6, help="of a run")
    parser.add_argument("--anytime", action="store_true", help="open the page in the anytime view")
    asked = parser.parse_args()
    found = {}
    for designs in map(int, asked.designs.split(",")):
        found[str(designs)] = measure(designs, asked.passes, epochs=asked.epochs, anytime=asked.anytime)
        print(designs, json.dumps(found[str(designs)]), flush=True)
    name = "page-anytime" if asked.anytime else "page"
    print(record.write(name, "benchmarks.page", torch.device("cpu"), {"designs": found}))


if __name__ == "__main__":
    main()
