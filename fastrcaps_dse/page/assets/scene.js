// The front in 3D: three columns of the study, drawn by plotly.js, which is loaded when it is first needed.
const CAMERA = { eye: { x: 1.55, y: 1.55, z: 0.75 }, center: { x: 0, y: 0, z: -0.12 }, up: { x: 0, y: 0, z: 1 } };
const CONFIG = { displaylogo: false, responsive: true, showSendToCloud: false, displayModeBar: false };
const MOST_DROPS = 60; // members of the front, up to which each has a line to the floor
const NO_WEBGL = 'This browser offers no WebGL, which 3D needs; the designs are shown flat.';

const canDraw3d = () => Boolean(document.createElement('canvas').getContext('webgl'));

// A camera in the address: where it is, and what it looks at.
const cameraText = ({ eye, center }) => [eye, center].flatMap(({ x, y, z }) => [x, y, z]).map((v) => Number(v.toFixed(2))).join();

function cameraOf(text) {
  const [a, b, c, d, e, f] = text.split(',').map(Number);
  return text ? { eye: { x: a, y: b, z: c }, center: { x: d, y: e, z: f }, up: CAMERA.up } : CAMERA;
}

const isCamera = (text) => text.split(',').length === 6 && text.split(',').every((part) => part && Number.isFinite(Number(part)));

class Scene {
  constructor(scatter) {
    this.scatter = scatter;
    this.app = scatter.app;
    this.node = element('div', { className: 'scene', hidden: true, tabIndex: 0 });
    this.node.setAttribute('role', 'group');
    this.node.setAttribute('aria-label', 'Designs in 3D; the table holds the same values');
    this.isLinked = false;
    this.node.addEventListener('pointerdown', () => this.node.focus({ preventScroll: true }));
    this.node.addEventListener('wheel', (event) => { // the page scrolls, unless the scene has the focus or Ctrl is held
      const hasFocus = this.node.contains(document.activeElement);
      if (!hasFocus && !event.ctrlKey) event.stopPropagation();
    }, { capture: true });
  }

  columns() {
    const { study, state } = this.app;
    return [state.x, state.y, state.z].map((name) => study.column(name)).filter(Boolean);
  }

  trace(key, name, designs) {
    const { size, color, opacity, symbol } = styleOf(key);
    const isOpen = symbol.endsWith('open');
    const trace = {
      type: 'scatter3d',
      mode: (key === 'front' && designs.length <= 40) || key === 'pick' ? 'markers+text' : 'markers',
      name,
      opacity,
      marker: { size: 0.9 * size, color, symbol, line: { width: isOpen ? 2 : 0.5, color: isOpen ? color : css('ground') } },
      customdata: designs.map((d) => d.key),
      hoverinfo: key === 'hover' || key === 'selected' ? 'skip' : 'text',
      hovertext: designs.map((d) => {
        const [head, ...lines] = tipLines(d, this.app.study.columns).map((text) => escaped(text));
        return `<b>${head}</b><br>${lines.join('<br>')}`;
      }),
      text: designs.map((d) => this.label(d, key)),
      textposition: 'top center',
      textfont: { size: 11, color: css(key === 'pick' ? 'pick' : 'ink') },
    };
    this.columns().forEach((c, k) => {
      const axis = 'xyz'[k];
      const place = this.scatter.axis(c.name);
      trace[axis] = designs.map((d) => place.map(d.values[c.name]));
      if (key === 'front' && designs.some((d) => d.errors?.[c.name])) {
        const ends = [1, -1].map((sign) => designs.map((d, n) => {
          const end = place.map(d.values[c.name] + sign * (d.errors?.[c.name] || 0));
          return sign * (end - trace[axis][n]);
        }));
        const [up, down] = ends.map((values) => values.map((value) => Math.abs(value)));
        const isTurned = kindOf(c.name) === 'acc' && this.scatter.isError();
        trace[`error_${axis}`] = {
          type: 'data', symmetric: false, array: isTurned ? down : up, arrayminus: isTurned ? up : down, thickness: 1.5, width: 3, color,
        };
      }
    });
    return trace;
  }

  // The number of a design beside its mark. That of the pick, whose mark is large, stands higher, and alone.
  label(design, key) {
    if (key === 'pick') return `${shortName(design)}<br> `;
    return this.scatter.marked('pick').includes(design) ? '' : shortName(design);
  }

  // In the anytime view, the designs as lines through their points.
  runs() {
    const { study } = this.app;
    const runs = study.isEveryEpoch ? [...study.runs.values()].map((run) => run.filter((d) => !this.scatter.outside.has(d))) : [];
    const along = (c, run) => run.map((d) => this.scatter.axis(c.name).map(d.values[c.name])).concat(null);
    const [x, y, z] = this.columns().map((c) => runs.flatMap((run) => along(c, run)));
    const line = { color: css('rest'), width: 1 };
    return { type: 'scatter3d', mode: 'lines', name: 'epoch by epoch', hoverinfo: 'skip', line, opacity: 0.5, x, y, z, customdata: [] };
  }

  // Lines from designs to the floor: of the front, where it is small, and of those that are marked.
  drops() {
    const { groups } = this.scatter;
    const front = groups.find(({ key }) => key === 'front').designs;
    const marked = MARKS.flatMap((key) => this.scatter.marked(key));
    const designs = [...new Set([...(front.length <= MOST_DROPS ? front : []), ...marked])];
    const [x, y, z] = this.columns().map((c) => [c, this.scatter.axis(c.name)]);
    const floor = z[1].isLog ? 10 ** z[1].low : z[1].low;
    const values = ([c, axis]) => designs.map((d) => axis.map(d.values[c.name]));
    const [xs, ys, zs] = [x, y, z].map(values);
    return {
      type: 'scatter3d', mode: 'lines', name: 'drops', hoverinfo: 'skip', line: { color: css('faint'), width: 1.5 }, opacity: 0.6,
      x: xs.flatMap((v) => [v, v, null]), y: ys.flatMap((v) => [v, v, null]), z: zs.flatMap((v) => [v, floor, null]),
      customdata: [],
    };
  }

  traces() {
    const groups = this.scatter.groups.map(({ key, name, designs }) => this.trace(key, name, designs));
    return [...groups, ...MARKS.map((key) => this.trace(key, key, this.scatter.marked(key))), this.runs(), this.drops()];
  }

  layout() {
    const scene = { camera: cameraOf(this.app.state.camera), bgcolor: 'rgba(0,0,0,0)' };
    this.columns().forEach((c, k) => {
      const axis = this.scatter.axis(c.name);
      const ticks = axis.ticks(axis.low, axis.high, 5);
      const values = ticks.map(({ at }) => (axis.isLog ? 10 ** at : at));
      scene[`${'xyz'[k]}axis`] = {
        title: { text: axis.title, font: { size: 12 } }, type: axis.isLog ? 'log' : 'linear', range: [axis.low, axis.high],
        tickvals: values, ticktext: ticks.map(({ text }) => text), gridcolor: css('line'), color: css('ink'), showbackground: false,
      };
    });
    return {
      paper_bgcolor: 'rgba(0,0,0,0)', font: { family: FONT, size: 12, color: css('ink') }, margin: { l: 0, r: 0, t: 0, b: 0 },
      showlegend: false, hoverlabel: { align: 'left' }, scene,
    };
  }

  draw() {
    this.app.scheduler.whenFree(this.node, 'scene', () => this.drawNow());
  }

  drawNow() {
    Plotly.react(this.node, this.traces(), this.layout(), CONFIG);
    if (this.isLinked) return;
    this.isLinked = true;
    this.node.on('plotly_hover', (event) => this.app.update({ hover: event.points[0].customdata ?? null }));
    this.node.on('plotly_unhover', () => this.app.update({ hover: null }));
    this.node.on('plotly_click', (event) => this.click(event.points[0].customdata));
    this.node.on('plotly_relayout', (change) => {
      const camera = change['scene.camera'];
      if (camera) this.app.update({ camera: cameraText(camera) });
    });
  }

  click(key) {
    const design = this.app.study.byKey.get(key);
    if (design) this.app.toggle(design.trial, false, key);
  }

  // Draw again what marks designs.
  mark(key) {
    if (this.isLinked) this.app.scheduler.whenFree(this.node, key, () => this.markNow(key));
  }

  markNow(key) {
    const parts = [[this.trace(key, key, this.scatter.marked(key)), GROUPS.length + MARKS.indexOf(key)], [this.drops(), GROUPS.length + MARKS.length + 1]];
    if (key === 'pick') parts.push([this.trace('front', 'Pareto front', this.scatter.groups.at(-1).designs), GROUPS.length - 1]);
    for (const [{ x, y, z, customdata, hovertext, text }, index] of parts) {
      Plotly.restyle(this.node, { x: [x], y: [y], z: [z], customdata: [customdata], hovertext: [hovertext], text: [text] }, [index]);
    }
  }

  // The scene as plotly's figure, to save.
  figure() {
    return { data: this.traces(), layout: { ...this.layout(), paper_bgcolor: css('ground') } };
  }
}
