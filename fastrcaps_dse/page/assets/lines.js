// Curves of runs, and of the hypervolume.
function bandOf(runs, key) {
  const length = Math.min(...runs.map((run) => run[key].length));
  const columns = Array.from({ length }, (_, k) => runs.map((run) => run[key][k]));
  return {
    mean: columns.map((c) => c.reduce((a, b) => a + b, 0) / c.length), low: columns.map((c) => Math.min(...c)), high: columns.map((c) => Math.max(...c)),
  };
}

// The layout of a plot that has nothing to show, and says so.
function saying(text) {
  const bare = { visible: false };
  return { xaxis: bare, yaxis: bare, annotations: [{ text, showarrow: false, xref: 'paper', yref: 'paper', x: 0.5, y: 0.5, font: { size: 14 } }] };
}

class Lines {
  constructor(app) {
    this.app = app;
    this.nodes = Object.fromEntries(['accuracy', 'rate', 'by-trials', 'by-seconds'].map((id) => [id, document.getElementById(id)]));
  }

  drawCurves() {
    const { app } = this;
    const accuracy = [];
    const rate = [];
    app.compared().forEach((t, index) => {
      const runs = (app.curves.get(t) || []).filter((run) => run.acc.length);
      if (!runs.length) return;
      const color = PALETTE[index % PALETTE.length];
      const design = app.byTrial.get(t);
      const whole = `${t}: ${design ? design.l : ''}`;
      const name = escaped(whole.length > 34 ? `${whole.slice(0, 33)}…` : whole);
      const dash = ['solid', 'dash', 'dot'][Math.floor(index / PALETTE.length) % 3];
      const { mean, low, high } = bandOf(runs, 'acc');
      const epochs = mean.map((_, k) => k + 1);
      if (runs.length > 1) {
        accuracy.push({ x: [...epochs, ...epochs.slice().reverse()], y: [...high, ...low.slice().reverse()], fill: 'toself', fillcolor: `${color}33`, line: { width: 0 }, hoverinfo: 'skip', mode: 'lines', showlegend: false });
      }
      accuracy.push({ x: epochs, y: mean, name, mode: 'lines+markers', line: { color, width: 2, dash }, marker: { size: 4 }, customdata: epochs.map(() => t), hovertemplate: `${name}<br>epoch %{x}: %{y:.2f} %<extra></extra>` });
      const rates = runs[0].lr;
      rate.push({ x: rates.map((_, k) => Math.floor((k + 1) / 2)), y: rates, name, mode: 'lines', line: { color, width: 2, dash }, customdata: rates.map(() => t), hovertemplate: `${name}<br>%{y:.2e}<extra></extra>` });
    });
    const legend = { showlegend: true, legend: { orientation: 'h', y: -0.24, yanchor: 'top', font: { size: 11 } } };
    const none = accuracy.length ? {} : saying('no epoch is recorded of these designs yet');
    this.plot('accuracy', accuracy, { xaxis: { title: { text: 'epoch' } }, yaxis: { title: { text: 'accuracy (%)' } }, ...legend, ...none });
    this.plot('rate', rate, { xaxis: { title: { text: 'epoch' } }, yaxis: { title: { text: 'learning rate' }, type: 'log', exponentformat: 'power' }, ...none });
  }

  drawHypervolume() {
    const grown = this.app.hypervolume;
    const style = { mode: grown.shares.length < 60 ? 'lines+markers' : 'lines', line: { color: css('front'), width: 2, shape: 'hv' }, marker: { size: 4 }, customdata: grown.trials };
    const y = { title: { text: 'share of its last value' }, tickformat: '.0%', rangemode: 'tozero' };
    const none = grown.shares.length ? {} : saying('no design is measured yet');
    const count = grown.shares.map((_, k) => k + 1);
    const hover = '%{y:.1%}<br>trial %{customdata}<extra></extra>';
    this.plot('by-trials', [{ ...style, x: count, y: grown.shares, hovertemplate: hover }], { xaxis: { title: { text: 'measured trials' } }, yaxis: y, ...none });
    this.plot('by-seconds', [{ ...style, x: grown.seconds, y: grown.shares, hovertemplate: hover }], { xaxis: { title: { text: 'training (s)' } }, yaxis: y, ...none });
  }

  plot(id, traces, extra) {
    whenFree(this.nodes[id], id, () => this.plotNow(this.nodes[id], traces, extra));
  }

  plotNow(node, traces, extra) {
    const fresh = !node.data;
    Plotly.react(node, traces.map((t) => ({ type: 'scatter', ...t })), layoutOf(extra), CONFIG);
    if (fresh) {
      node.on('plotly_hover', (event) => this.app.setHover(event.points[0].customdata));
      node.on('plotly_unhover', () => this.app.setHover(null));
      node.on('plotly_click', (event) => this.app.toggle(event.points[0].customdata));
    }
  }
}
