// The Pareto scatter: in 3D for three axes, flat for two.
const PALETTE = ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#8C6D31', '#7F7F7F'];
const CONFIG = { displaylogo: false, responsive: true, showSendToCloud: false, displayModeBar: false };
const CAMERA = { eye: { x: 1.55, y: 1.55, z: 0.75 }, center: { x: 0, y: 0, z: -0.12 } };
const SYMBOLS = { diamond: '◆', 'diamond-open': '◇', 'circle-open': '○', circle: '●', square: '■' };
const MARKS = ['selected', 'hover', 'pick']; // the last traces: they mark single designs

const axisTitle = (c) => (c.name === 'params' ? c.title : `${c.title} (${c.unit})`);

// The layout of a plot in the colors of the page, with `extra` over it.
function layoutOf(extra) {
  const grid = css('line');
  const axis = { gridcolor: grid, zerolinecolor: grid, linecolor: grid };
  const merged = { ...extra };
  for (const name of ['xaxis', 'yaxis']) merged[name] = { ...axis, automargin: true, ...extra[name] };
  return {
    paper_bgcolor: 'rgba(0,0,0,0)',
    plot_bgcolor: 'rgba(0,0,0,0)',
    font: { family: css('font') || 'system-ui, sans-serif', size: 12, color: css('ink') },
    margin: { l: 56, r: 12, t: 12, b: 44 },
    showlegend: false,
    hoverlabel: { align: 'left' },
    ...merged,
  };
}

// What is added to the layout of a plot that has nothing to show: a text that says so.
function saying(text) {
  const bare = { visible: false };
  const place = { xref: 'paper', yref: 'paper', x: 0.5, y: 0.5 };
  return { xaxis: bare, yaxis: bare, annotations: [{ text, showarrow: false, ...place, font: { size: 14 } }] };
}

// Let the pointer on a plot mark and select designs. Its traces have trials as their customdata.
function linkPlot(node, app) {
  node.on('plotly_hover', (event) => app.update({ hover: event.points[0].customdata ?? null }));
  node.on('plotly_unhover', () => app.update({ hover: null }));
  node.on('plotly_click', (event) => app.toggle(event.points[0].customdata));
}

function hoverText(design, columns) {
  const lines = columns.map((c) => `${c.title}: ${formatValue(c.name, design.values[c.name])}`);
  if (design.probability !== undefined) {
    lines.push(`P(on the front): ${design.probability.toFixed(2)}, ${counted(design.seeds, 'seed')}`);
  }
  if (design.pruned_after) lines.push(`pruned after ${counted(design.pruned_after, 'epoch')}`);
  return `<b>${escaped(design.label)}</b><br>trial ${design.trial}<br>${lines.join('<br>')}`;
}

// Each measured design is in the first group whose test it passes.
const GROUPS = [
  { key: 'outside', name: 'outside the ranges', test: (d, app) => !app.admits(d) },
  { key: 'dominated', name: 'dominated', test: (d) => !d.on_front && !d.tied && !d.pruned_after },
  { key: 'pruned', name: 'pruned', test: (d) => d.pruned_after && !d.on_front },
  { key: 'tied', name: 'tied with the front', test: (d) => d.tied && !d.on_front },
  { key: 'front', name: 'Pareto front', test: (d) => d.on_front },
];

function styleOf(key, isFlat) {
  const size = isFlat ? 1.7 : 1;
  return {
    outside: { size: 3 * size, color: css('rest'), opacity: 0.12, symbol: 'circle' },
    dominated: { size: 4 * size, color: css('rest'), opacity: 0.65, symbol: 'circle' },
    pruned: { size: 4 * size, color: css('rest'), opacity: 0.65, symbol: 'circle-open' },
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
    this.node = $('scatter');
    this.drawn = null; // the axes of what is drawn
  }

  columns() {
    const { study, state } = this.app;
    return [state.x, state.y, state.z].map((name) => study.column(name)).filter(Boolean);
  }

  trace(key, name, designs, columns) {
    const isFlat = columns.length < 3;
    const { size, color, opacity, symbol } = styleOf(key, isFlat);
    const isOpen = symbol.endsWith('open');
    const trace = {
      type: isFlat ? 'scatter' : 'scatter3d',
      mode: key === 'front' && designs.length <= 40 ? 'markers+text' : 'markers',
      name,
      opacity,
      marker: { size, color, symbol, line: { width: isOpen ? 2 : 0.5, color: isOpen ? color : css('ground') } },
      customdata: designs.map((d) => d.trial),
      hoverinfo: key === 'hover' || key === 'selected' ? 'skip' : 'text',
      hovertext: designs.map((d) => hoverText(d, this.app.study.columns)),
      text: designs.map((d) => String(d.trial)),
      textposition: 'top center',
      textfont: { size: 11 },
    };
    columns.forEach((c, k) => {
      const axis = 'xyz'[k];
      trace[axis] = designs.map((d) => d.values[c.name]);
      if (key === 'front' && designs.some((d) => d.errors?.[c.name])) {
        const errors = designs.map((d) => d.errors?.[c.name] || 0);
        trace[`error_${axis}`] = { type: 'data', array: errors, thickness: 1.5, width: 3, color };
      }
    });
    return trace;
  }

  traces(columns) {
    const left = new Set(this.app.study.measured);
    const groups = GROUPS.map(({ key, name, test }) => {
      const designs = [...left].filter((d) => test(d, this.app));
      for (const d of designs) left.delete(d);
      return this.trace(key, name, designs, columns);
    });
    return [...groups, ...MARKS.map((key) => this.trace(key, key, this.marked(key), columns))];
  }

  // The measured designs that a mark is on.
  marked(key) {
    const { study, state, answer } = this.app;
    const trials = { selected: state.selected, hover: [state.hover], pick: [answer.design?.trial] }[key];
    return trials.map((trial) => study.byTrial.get(trial)).filter((d) => d?.values);
  }

  draw() {
    this.app.scheduler.whenFree(this.node, 'draw', () => this.drawNow());
  }

  drawNow() {
    const columns = this.columns();
    const traces = this.traces(columns);
    if (this.app.study.measured.length) Plotly.react(this.node, traces, this.layout(columns), CONFIG);
    else Plotly.react(this.node, [], layoutOf(saying('no design is measured yet')), CONFIG);
    if (this.drawn === null) linkPlot(this.node, this.app);
    this.drawn = columns.map((c) => c.name).join();
    this.drawLegend(traces);
  }

  // A turned scene stays turned while its axes stay.
  layout(columns) {
    const [xaxis, yaxis, zaxis] = columns.map((c) => (
      { title: { text: axisTitle(c) }, type: c.log ? 'log' : 'linear', gridcolor: css('line'), color: css('ink') }
    ));
    if (!zaxis) return layoutOf({ xaxis, yaxis });
    const isSame = this.drawn === columns.map((c) => c.name).join();
    const camera = (isSame && this.node.layout?.scene?.camera) || CAMERA;
    return layoutOf({ scene: { xaxis, yaxis, zaxis, camera }, margin: { l: 0, r: 0, t: 0, b: 0 } });
  }

  drawLegend(traces) {
    const listed = traces.filter((t, k) => (k < GROUPS.length || t.name === 'pick') && t.x.length);
    $('legend').replaceChildren(...listed.map((t) => {
      const text = t.name === 'pick' ? 'picked' : `${t.name} (${t.x.length})`;
      const symbol = element('span', { textContent: SYMBOLS[t.marker.symbol] });
      symbol.style.color = t.marker.color; // the words have the color of all text, which is easy to read
      return element('span', {}, symbol, ` ${text}`);
    }));
  }

  // Redraw one of the small traces that mark designs.
  mark(key) {
    if (this.drawn === null || !this.app.study.measured.length) return;
    this.app.scheduler.whenFree(this.node, key, () => this.markNow(key));
  }

  markNow(key) {
    const trace = this.trace(key, key, this.marked(key), this.columns());
    const update = { customdata: [trace.customdata], hovertext: [trace.hovertext], text: [trace.text] };
    for (const axis of 'xyz') if (trace[axis]) update[axis] = [trace[axis]];
    Plotly.restyle(this.node, update, [GROUPS.length + MARKS.indexOf(key)]);
  }
}
