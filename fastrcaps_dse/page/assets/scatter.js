// The Pareto scatter: in 3D for three axes, flat for two.
const PALETTE = ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#8C6D31', '#7F7F7F'];
const CONFIG = { displaylogo: false, responsive: true, showSendToCloud: false, displayModeBar: false };

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const escaped = (text) => String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
const axisTitle = (c) => (c.name === 'params' ? c.title : `${c.title} (${c.unit})`);

function layoutOf(extra) {
  const grid = css('line');
  const axis = { gridcolor: grid, zerolinecolor: grid, linecolor: grid };
  const merged = { ...extra };
  for (const name of ['xaxis', 'yaxis']) merged[name] = { ...axis, automargin: true, ...(extra[name] || {}) };
  return {
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', font: { family: css('font') || 'system-ui, sans-serif', size: 12, color: css('ink') },
    margin: { l: 56, r: 12, t: 12, b: 44 }, showlegend: false, hoverlabel: { align: 'left' }, ...merged,
  };
}

function hoverText(design, columns) {
  const lines = columns.map((c) => `${c.title}: ${formatValue(c.name, design.v[c.name])}`);
  if (design.p !== undefined) lines.push(`P(on the front): ${design.p.toFixed(2)}, ${counted(design.n, 'seed')}`);
  if (design.stopped) lines.push(`pruned after ${counted(design.stopped, 'epoch')}`);
  return `<b>${escaped(design.l)}</b><br>trial ${design.t}<br>${lines.join('<br>')}`;
}

const GROUPS = [
  { key: 'faded', name: 'outside the ranges', test: (d, app) => !app.isShown(d) },
  { key: 'rest', name: 'dominated', test: (d) => !d.f && !isTied(d) && !d.stopped },
  { key: 'stopped', name: 'pruned', test: (d) => d.stopped && !d.f },
  { key: 'tied', name: 'tied with the front', test: (d) => isTied(d) && !d.f },
  { key: 'front', name: 'Pareto front', test: (d) => d.f },
];
const isTied = (d) => d.p !== undefined && d.p > 0.05 && d.p < SURE;

function groupStyle(key, flat) {
  const size = flat ? 1.7 : 1;
  return {
    faded: { size: 3 * size, color: css('rest'), opacity: 0.12, symbol: 'circle' },
    rest: { size: 4 * size, color: css('rest'), opacity: 0.65, symbol: 'circle' },
    stopped: { size: 4 * size, color: css('rest'), opacity: 0.65, symbol: 'circle-open' },
    tied: { size: 5 * size, color: css('front'), opacity: 0.8, symbol: 'diamond-open' },
    front: { size: 6 * size, color: css('front'), opacity: 1, symbol: 'diamond' },
    selected: { size: 9 * size, color: css('ink'), opacity: 1, symbol: 'circle-open' },
    hover: { size: 11 * size, color: css('ink'), opacity: 1, symbol: 'square-open' },
    pick: { size: 9 * size, color: css('pick'), opacity: 1, symbol: 'square' },
  }[key];
}

class Scatter {
  constructor(app) {
    this.app = app;
    this.node = document.getElementById('scatter');
    this.drawn = '';
  }

  columns() {
    return ['x', 'y', 'z'].map((a) => this.app.column(this.app.state[a])).filter(Boolean);
  }

  trace(key, name, designs, columns) {
    const flat = columns.length < 3;
    const style = groupStyle(key, flat);
    const trace = {
      type: flat ? 'scatter' : 'scatter3d', mode: key === 'front' && designs.length <= 40 ? 'markers+text' : 'markers', name,
      customdata: designs.map((d) => d.t), hoverinfo: key === 'hover' || key === 'selected' ? 'skip' : 'text',
      hovertext: designs.map((d) => hoverText(d, this.app.columns)), opacity: style.opacity,
      marker: { size: style.size, color: style.color, symbol: style.symbol, line: { width: style.symbol.endsWith('open') ? 2 : 0.5, color: style.symbol.endsWith('open') ? style.color : css('ground') } },
      text: designs.map((d) => String(d.t)), textposition: 'top center', textfont: { size: 11 },
    };
    columns.forEach((c, k) => {
      trace['xyz'[k]] = designs.map((d) => d.v[c.name]);
      if (key === 'front' && designs.some((d) => d.e && d.e[c.name])) {
        trace[`error_${'xyz'[k]}`] = { type: 'data', array: designs.map((d) => (d.e && d.e[c.name]) || 0), thickness: 1.5, width: 3, color: style.color };
      }
    });
    return trace;
  }

  traces() {
    const { app } = this;
    const columns = this.columns();
    const left = new Set(app.done);
    const traces = GROUPS.map(({ key, name, test }) => {
      const designs = [...left].filter((d) => test(d, app));
      designs.forEach((d) => left.delete(d));
      return this.trace(key, name, designs, columns);
    });
    return [...traces, ...['selected', 'hover', 'pick'].map((key) => this.trace(key, key, this.marked(key), columns))];
  }

  marked(key) {
    const { app } = this;
    const trials = { selected: app.state.sel, hover: app.hover === null ? [] : [app.hover], pick: app.picked ? [app.picked.t] : [] }[key];
    return trials.map((t) => app.byTrial.get(t)).filter((d) => d && d.v);
  }

  draw() {
    whenFree(this.node, 'draw', () => this.drawNow());
  }

  drawNow() {
    const columns = this.columns();
    const flat = columns.length < 3;
    const axes = columns.map((c) => ({ title: { text: axisTitle(c) }, type: c.log ? 'log' : 'linear', gridcolor: css('line'), color: css('ink') }));
    const key = columns.map((c) => c.name).join();
    const camera = this.drawn === key && !flat && this.node.layout ? this.node.layout.scene.camera : { eye: { x: 1.55, y: 1.55, z: 0.75 }, center: { x: 0, y: 0, z: -0.12 } };
    const layout = !this.app.done.length ? layoutOf(saying('no design is measured yet')) : flat
      ? layoutOf({ xaxis: axes[0], yaxis: axes[1] })
      : layoutOf({ scene: { xaxis: axes[0], yaxis: axes[1], zaxis: axes[2], camera }, margin: { l: 0, r: 0, t: 0, b: 0 } });
    const traces = this.traces();
    Plotly.react(this.node, this.app.done.length ? traces : [], layout, CONFIG);
    this.drawn = key;
    if (!this.listening) this.listen();
    const legend = document.getElementById('legend');
    legend.replaceChildren(...traces.filter((t, k) => (k < GROUPS.length || t.name === 'pick') && t.x.length).map((t) => {
      const item = document.createElement('span');
      item.textContent = `${{ diamond: '◆', 'diamond-open': '◇', 'circle-open': '○', circle: '●', square: '■' }[t.marker.symbol]} ${t.name === 'pick' ? 'picked' : `${t.name} (${t.x.length})`}`;
      item.style.color = t.marker.color;
      return item;
    }));
  }

  listen() {
    this.listening = true;
    this.node.on('plotly_hover', (event) => this.app.setHover(event.points[0].customdata));
    this.node.on('plotly_unhover', () => this.app.setHover(null));
    this.node.on('plotly_click', (event) => this.app.toggle(event.points[0].customdata));
  }

  // Redraw one of the small traces that mark designs.
  mark(key) {
    if (this.drawn && this.app.done.length) whenFree(this.node, key, () => this.markNow(key));
  }

  markNow(key) {
    const index = GROUPS.length + ['selected', 'hover', 'pick'].indexOf(key);
    const trace = this.trace(key, key, this.marked(key), this.columns());
    const update = { customdata: [trace.customdata], hovertext: [trace.hovertext], text: [trace.text] };
    for (const letter of 'xyz') if (trace[letter]) update[letter] = [trace[letter]];
    Plotly.restyle(this.node, update, [index]);
  }
}
