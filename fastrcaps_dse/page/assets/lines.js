// Curves of runs, and of the hypervolume.
const MAX_NAME = 34; // letters of a design's name in a legend

// Mean and range over the runs of a design, up to the length of the shortest.
function bandOf(runs, key) {
  const length = Math.min(...runs.map((run) => run[key].length));
  const columns = Array.from({ length }, (_, k) => runs.map((run) => run[key][k]));
  return {
    mean: columns.map((c) => c.reduce((a, b) => a + b, 0) / c.length),
    low: columns.map((c) => Math.min(...c)),
    high: columns.map((c) => Math.max(...c)),
  };
}

// The traces of one design: its accuracy, with a band over several runs, and the learning rate of its first run.
function curvesOf(trial, name, runs, { color, dash }) {
  const { mean, low, high } = bandOf(runs, 'acc');
  const epochs = mean.map((_, k) => k + 1);
  const line = { color, width: 2, dash };
  const band = {
    x: [...epochs, ...epochs.toReversed()], y: [...high, ...low.toReversed()], fill: 'toself', fillcolor: `${color}33`,
    line: { width: 0 }, hoverinfo: 'skip', mode: 'lines', showlegend: false,
  };
  const accuracy = {
    x: epochs, y: mean, name, mode: 'lines+markers', line, marker: { size: 4 }, customdata: epochs.map(() => trial),
    hovertemplate: `${name}<br>epoch %{x}: %{y:.2f} %<extra></extra>`,
  };
  const rates = runs[0].lr; // of the first and the last step of each epoch
  const rate = {
    x: rates.map((_, k) => Math.floor((k + 1) / 2)), y: rates, name, mode: 'lines', line, customdata: rates.map(() => trial),
    hovertemplate: `${name}<br>%{y:.2e}<extra></extra>`,
  };
  return { accuracy: runs.length > 1 ? [band, accuracy] : [accuracy], rate };
}

class Lines {
  constructor(app) {
    this.app = app;
    this.nodes = Object.fromEntries(['accuracy', 'rate', 'by-trials', 'by-seconds'].map((id) => [id, $(id)]));
  }

  drawCurves() {
    const { study, curves, derived } = this.app;
    const drawn = derived.compared.flatMap((trial, index) => {
      const runs = (curves.get(trial) || []).filter((run) => run.acc.length);
      if (!runs.length) return [];
      const whole = `${trial}: ${study.byTrial.get(trial)?.label ?? ''}`;
      const name = escaped(whole.length > MAX_NAME ? `${whole.slice(0, MAX_NAME - 1)}…` : whole);
      const dash = ['solid', 'dash', 'dot'][Math.floor(index / PALETTE.length) % 3];
      return [curvesOf(trial, name, runs, { color: PALETTE[index % PALETTE.length], dash })];
    });
    const none = drawn.length ? {} : saying('no epoch is recorded of these designs yet');
    this.plot('accuracy', drawn.flatMap((d) => d.accuracy), {
      xaxis: { title: { text: 'epoch' } }, yaxis: { title: { text: 'accuracy (%)' } },
      showlegend: true, legend: { orientation: 'h', y: -0.24, yanchor: 'top', font: { size: 11 } }, ...none,
    });
    this.plot('rate', drawn.map((d) => d.rate), {
      xaxis: { title: { text: 'epoch' } },
      yaxis: { title: { text: 'learning rate' }, type: 'log', exponentformat: 'power' },
      ...none,
    });
  }

  drawHypervolume() {
    const { trials, seconds, shares } = this.app.study.hypervolume;
    const curve = {
      y: shares, mode: shares.length < 60 ? 'lines+markers' : 'lines', line: { color: css('front'), width: 2, shape: 'hv' },
      marker: { size: 4 }, customdata: trials, hovertemplate: '%{y:.1%}<br>trial %{customdata}<extra></extra>',
    };
    const yaxis = { title: { text: 'share of its last value' }, tickformat: '.0%', rangemode: 'tozero' };
    const none = shares.length ? {} : saying('no design is measured yet');
    const counts = shares.map((_, k) => k + 1);
    this.plot('by-trials', [{ ...curve, x: counts }], { xaxis: { title: { text: 'measured trials' } }, yaxis, ...none });
    this.plot('by-seconds', [{ ...curve, x: seconds }], { xaxis: { title: { text: 'training (s)' } }, yaxis, ...none });
  }

  plot(id, traces, extra) {
    this.app.scheduler.whenFree(this.nodes[id], id, () => this.plotNow(this.nodes[id], traces, extra));
  }

  plotNow(node, traces, extra) {
    const isNew = !node.data;
    Plotly.react(node, traces.map((t) => ({ type: 'scatter', ...t })), layoutOf(extra), CONFIG);
    if (isNew) linkPlot(node, this.app);
  }
}
