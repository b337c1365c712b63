// Parallel coordinates: lines on a canvas, axes and ranges in SVG.
const SVG = 'http://www.w3.org/2000/svg';
const MAX_KINDS = 10; // of a policy or schedule; where there are more, they are told apart by name only, without their fields
const MAX_TICK = 17; // letters
const PAD = { top: 34, bottom: 26, side: 70 };

function svg(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

const shortened = (text) => (text.length > MAX_TICK ? `${text.slice(0, MAX_TICK - 1)}…` : text);

// Numbers by size, then words.
function compareKinds(a, b) {
  if (!Number.isNaN(a - b)) return a - b;
  return Number.isNaN(Number(a)) - Number.isNaN(Number(b)) || (a < b ? -1 : 1);
}

// An axis of a dimension: each value has a place.
function dimensionAxis(name, designs) {
  const isMany = new Set(designs.map((d) => d.design[name])).size > MAX_KINDS;
  const kind = (d) => (isMany ? String(d.design[name]).split('(')[0] : String(d.design[name]));
  const values = [...new Set(designs.map(kind))].sort(compareKinds);
  return {
    key: `design.${name}`, title: name.replaceAll('_', ' '),
    of: (d) => values.indexOf(kind(d)), low: 0, high: values.length - 1,
    ticks: values.map((_, k) => k), text: (k) => String(values[k]),
  };
}

// An axis of an objective, with what is better above.
function objectiveAxis(c, designs) {
  const map = c.log ? (v) => Math.log10(Math.max(v, 1e-9)) : (v) => v;
  const numbers = designs.map((d) => map(d.values[c.name]));
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  return {
    key: c.name, title: c.name, of: (d) => map(d.values[c.name]), low, high, isFlipped: c.direction === 'minimize',
    ticks: high > low ? [low, (low + high) / 2, high] : [low], text: (v) => formatValue(c.name, c.log ? 10 ** v : v),
  };
}

class Parallel {
  constructor(app) {
    this.app = app;
    this.node = $('parallel');
    this.canvas = document.createElement('canvas');
    this.marks = document.createElement('canvas'); // above it: selected, picked, hovered
    this.svg = svg('svg', {});
    this.axes = [];
    this.size = { width: 0, height: 0 };
    this.points = new Map(); // by design: its place on each axis
    this.node.append(this.canvas, this.marks, this.svg);
    this.svg.addEventListener('pointermove', (event) => app.update({ hover: this.nearest(event)?.trial ?? null }));
    this.svg.addEventListener('pointerleave', () => app.update({ hover: null }));
    this.svg.addEventListener('click', (event) => {
      if (!event.target.classList.contains('grip')) app.toggle(this.nearest(event)?.trial);
    });
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  draw() {
    const { study, state } = this.app;
    const designs = study.measured;
    const dimensions = study.dimensions.map((name) => dimensionAxis(name, designs));
    this.axes = designs.length ? [...dimensions, ...study.objectives.map((c) => objectiveAxis(c, designs))] : [];
    this.resize();
    const step = this.axes.length > 1 ? (this.size.width - 2 * PAD.side) / (this.axes.length - 1) : 0;
    this.axes.forEach((axis, k) => { axis.x = PAD.side + k * step; });
    this.points = new Map(designs.map((d) => [d, this.axes.map((axis) => [axis.x, this.y(axis, axis.of(d))])]));
    this.drawLines();
    this.drawAxes(this.svg);
    this.mark();
    $('unbrush').hidden = !Object.keys(state.ranges).length;
  }

  resize() {
    const width = Math.max(this.node.clientWidth, this.axes.length * 108);
    const height = this.node.clientHeight;
    this.size = { width, height };
    const scale = window.devicePixelRatio || 1;
    for (const canvas of [this.canvas, this.marks]) {
      canvas.width = width * scale;
      canvas.height = height * scale;
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
      canvas.getContext('2d').setTransform(scale, 0, 0, scale, 0, 0);
    }
    this.svg.setAttribute('width', width);
    this.svg.setAttribute('height', height);
  }

  drawLines() {
    const context = this.canvas.getContext('2d');
    context.clearRect(0, 0, this.size.width, this.size.height);
    const [front, dominated] = this.admitted();
    const dim = Math.max(0.12, Math.min(0.7, 60 / Math.max(1, front.length + dominated.length)));
    for (const d of dominated) this.line(context, d, css('rest'), dim, 1);
    for (const d of front) this.line(context, d, css('front'), 0.8, 1.6);
  }

  // The measured designs within the filter and the ranges: those on the front, and the others.
  admitted() {
    const designs = this.app.study.measured.filter((d) => this.app.admits(d));
    return [designs.filter((d) => d.on_front), designs.filter((d) => !d.on_front)];
  }

  y(axis, value) {
    const span = axis.high - axis.low;
    const share = span ? (value - axis.low) / span : 0.5;
    const up = axis.isFlipped ? 1 - share : share;
    return this.size.height - PAD.bottom - up * (this.size.height - PAD.top - PAD.bottom);
  }

  valueAt(axis, y) {
    const up = (this.size.height - PAD.bottom - y) / (this.size.height - PAD.top - PAD.bottom);
    return axis.low + (axis.isFlipped ? 1 - up : up) * (axis.high - axis.low);
  }

  line(context, design, color, alpha, width) {
    context.globalAlpha = alpha;
    context.strokeStyle = color;
    context.lineWidth = width;
    context.beginPath();
    for (const [x, y] of this.points.get(design)) context.lineTo(x, y); // the first only moves there
    context.stroke();
  }

  // The lines of the selected, the picked and the hovered design.
  mark() {
    const { study, state, answer } = this.app;
    const context = this.marks.getContext('2d');
    context.clearRect(0, 0, this.size.width, this.size.height);
    const draw = (d, color, width) => this.points.has(d) && this.line(context, d, color, 1, width);
    for (const trial of state.selected) draw(study.byTrial.get(trial), css('ink'), 2);
    draw(answer.design, css('pick'), 3.5);
    draw(study.byTrial.get(state.hover), css('ink'), 3);
  }

  drawAxes(target) {
    const nodes = this.axes.flatMap((axis) => this.axisNodes(axis));
    const middle = { x: this.size.width / 2, y: this.size.height / 2, 'text-anchor': 'middle', class: 'none' };
    target.replaceChildren(...(nodes.length ? nodes : [svg('text', middle, 'no design is measured yet')]));
  }

  axisNodes(axis) {
    const [top, bottom] = [PAD.top, this.size.height - PAD.bottom];
    const nodes = [
      svg('line', { class: 'axis', x1: axis.x, x2: axis.x, y1: top, y2: bottom, stroke: css('faint') }),
      svg('text', { class: 'name', x: axis.x, y: 14, 'text-anchor': 'middle' }, axis.title),
      ...this.tickNodes(axis),
    ];
    const range = this.app.state.ranges[axis.key];
    if (range) {
      const [a, b] = range.map((v) => Math.max(top - 6, Math.min(bottom + 6, this.y(axis, v))));
      nodes.push(svg('rect', { class: 'brush', x: axis.x - 9, width: 18, y: Math.min(a, b), height: Math.abs(b - a) }));
    }
    const size = { x: axis.x - 12, width: 24, y: top - 8, height: bottom - top + 16 };
    const grip = svg('rect', { class: 'grip', ...size, fill: 'transparent', 'data-axis': axis.key });
    grip.addEventListener('pointerdown', (event) => this.drag(axis, event));
    return [...nodes, grip];
  }

  // The values along an axis, some of them where there are many.
  tickNodes(axis) {
    const every = axis.ticks.length > 9 ? Math.ceil(axis.ticks.length / 8) : 1;
    const halo = { stroke: css('panel'), 'stroke-width': 3, 'paint-order': 'stroke' };
    return axis.ticks.filter((_, k) => k % every === 0).map((tick) => {
      const text = axis.text(tick);
      const place = { x: axis.x + 5, y: this.y(axis, tick) + 4 };
      const label = svg('text', { ...place, ...halo, 'font-size': 11, fill: css('ink') }, shortened(text));
      label.append(svg('title', {}, text));
      return label;
    });
  }

  // Set the range of an axis by dragging along it; a click lifts it.
  drag(axis, event) {
    event.preventDefault();
    const top = this.svg.getBoundingClientRect().top;
    const from = event.clientY - top;
    const isClick = (e) => Math.abs(e.clientY - top - from) < 4;
    const setRange = (range, dragging) => {
      this.app.update({ ranges: withKey(this.app.state.ranges, axis.key, range), dragging });
    };
    const move = (e) => {
      if (isClick(e)) return;
      const [a, b] = [this.valueAt(axis, from), this.valueAt(axis, e.clientY - top)];
      setRange([Math.min(a, b), Math.max(a, b)], true);
    };
    const up = (e) => {
      window.removeEventListener('pointermove', move);
      window.removeEventListener('pointerup', up);
      setRange(isClick(e) ? undefined : this.app.state.ranges[axis.key], false);
    };
    window.addEventListener('pointermove', move);
    window.addEventListener('pointerup', up);
  }

  // Whether a design lies within all ranges.
  admits(design) {
    const { ranges } = this.app.state;
    return this.axes.every((axis) => {
      const range = ranges[axis.key];
      return !range || (axis.of(design) >= range[0] && axis.of(design) <= range[1]);
    });
  }

  // The design whose line is nearest to the pointer, if it is near.
  nearest(event) {
    const box = this.svg.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = null;
    let distance = 12;
    for (const [d, points] of this.points) {
      if (!this.app.admits(d)) continue;
      for (let k = 1; k < points.length; k += 1) {
        const [[x0, y0], [x1, y1]] = [points[k - 1], points[k]];
        if (x < x0 || x > x1) continue;
        const away = Math.abs(y0 + ((y1 - y0) * (x - x0)) / (x1 - x0 || 1) - y);
        if (away < distance) [best, distance] = [d, away];
      }
    }
    return best;
  }

  // All of it as SVG text, to save.
  text() {
    const { width, height } = this.size;
    const whole = svg('svg', { xmlns: SVG, width, height, 'font-family': 'sans-serif' });
    whole.append(svg('rect', { width, height, fill: css('ground') }));
    const path = (d, stroke, opacity, thickness) => {
      const points = this.points.get(d).map((p) => p.map((v) => v.toFixed(1)).join()).join(' ');
      return svg('polyline', { points, fill: 'none', stroke, 'stroke-opacity': opacity, 'stroke-width': thickness });
    };
    const [front, dominated] = this.admitted();
    whole.append(...dominated.map((d) => path(d, css('rest'), 0.4, 1)), ...front.map((d) => path(d, css('front'), 0.9, 1.6)));
    const axes = svg('g', {});
    this.drawAxes(axes);
    whole.append(axes);
    return new XMLSerializer().serializeToString(whole);
  }
}
