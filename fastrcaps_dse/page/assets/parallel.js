// Parallel coordinates: lines on a canvas, axes and ranges in SVG.
const SVG = 'http://www.w3.org/2000/svg';
const MAX_KINDS = 10; // of a policy or schedule; where there are more, they are told apart by name only, without their fields
const MAX_TICK = 17; // letters
const TICK_ROOM = 24; // px along an axis for a tick
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
    key: `design.${name}`, title: name.replaceAll('_', ' '), isKinds: true,
    of: (d) => values.indexOf(kind(d)), low: 0, high: values.length - 1,
    ticks: values.map((_, k) => k), text: (k) => String(values[k] ?? 'none'), tick: (k) => String(values[k]),
  };
}

// An axis of an objective, with what is better above. `count` is how many ticks have room.
function objectiveAxis(c, designs, count) {
  const [map, back] = c.log ? [(v) => Math.log10(Math.max(v, 1e-9)), (v) => Number((10 ** v).toPrecision(10))] : [(v) => v, (v) => v];
  const values = designs.map((d) => d.values[c.name]);
  const [low, high] = [smallest(values), greatest(values)];
  return {
    key: c.name, title: c.name, of: (d) => map(d.values[c.name]), low: map(low), high: map(high), isFlipped: c.direction === 'minimize',
    ticks: ticksOf(c, low, high, count).map(map), text: (v) => formatValue(c.name, back(v)), tick: (v) => valueTick(c.name, back(v)),
    parse: (text) => { const value = parseQuantity(c.name, text); return value === null ? null : map(value); },
    exact: (v) => { const text = String(Number(back(v).toPrecision(6))); return text.includes('e') ? formatValue(c.name, back(v)) : text; },
  };
}

// How far up its axis a value is, from 0 to 1, and the value there.
function shareOf(axis, value) {
  const span = axis.high - axis.low;
  const share = span ? (value - axis.low) / span : 0.5;
  return axis.isFlipped ? 1 - share : share;
}

const valueOfShare = (axis, share) => axis.low + (axis.isFlipped ? 1 - share : share) * (axis.high - axis.low);

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
    this.handles = new RangeHandles(app, this);
    this.fields = new RangeFields(app, this);
    this.keeping = new Keeping(app);
    this.node.append(this.canvas, this.marks, this.svg);
    this.svg.addEventListener('pointermove', (event) => app.update({ hover: this.nearest(event)?.key ?? null }));
    this.svg.addEventListener('pointerleave', () => app.update({ hover: null }));
    this.svg.addEventListener('click', (event) => {
      const design = event.target.matches('.grip, .handle') ? null : this.nearest(event);
      if (design) app.toggle(design.trial, false, design.key);
    });
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  draw() {
    const { study, state } = this.app;
    const designs = study.measured.filter((d) => isKept(d, state));
    const dimensions = study.dimensions.map((name) => dimensionAxis(name, designs));
    const count = (this.node.clientHeight - PAD.top - PAD.bottom) / TICK_ROOM;
    const epochs = study.isEveryEpoch && !study.names.includes('epochs') ? [study.column('epochs')].filter(Boolean) : [];
    this.axes = designs.length ? [...dimensions, ...[...epochs, ...study.objectives].map((c) => objectiveAxis(c, designs, count))] : [];
    this.resize();
    const step = this.axes.length > 1 ? (this.size.width - 2 * PAD.side) / (this.axes.length - 1) : 0;
    this.axes.forEach((axis, k) => { axis.x = PAD.side + k * step; });
    this.points = new Map(designs.map((d) => [d, this.axes.map((axis) => [axis.x, this.y(axis, axis.of(d))])]));
    this.drawLines();
    this.drawAxes(this.svg, this.handles.draw(this.axes));
    this.mark();
    this.fields.draw();
    this.keeping.draw();
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
    return this.yOfShare(shareOf(axis, value));
  }

  yOfShare(share) {
    return this.size.height - PAD.bottom - share * (this.size.height - PAD.top - PAD.bottom);
  }

  // How far up the axes a place on the screen is; below 0 or above 1 beyond their ends.
  shareAt(clientY) {
    const y = clientY - this.svg.getBoundingClientRect().top;
    return (this.size.height - PAD.bottom - y) / (this.size.height - PAD.top - PAD.bottom);
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
    for (const d of state.selected.flatMap((trial) => study.of(trial))) draw(d, css('ink'), 2);
    draw(answer.design, css('pick'), 3.5);
    draw(study.byKey.get(state.hover), css('ink'), 3);
  }

  // The axes, with `handles` over them. Nodes that stay are moved, not made anew: they keep the focus.
  drawAxes(target, handles = []) {
    const nodes = this.axes.flatMap((axis) => this.axisNodes(axis));
    const middle = { x: this.size.width / 2, y: this.size.height / 2, 'text-anchor': 'middle', class: 'none' };
    const axes = svg('g', {});
    axes.append(...(nodes.length ? nodes : [svg('text', middle, this.app.study.measured.length ? 'all designs are hidden' : 'no design is measured yet')]));
    if (target.firstChild?.nodeName === 'g') target.firstChild.replaceWith(axes);
    else target.prepend(axes);
    handles.forEach((handle, k) => { if (target.children[k + 1] !== handle) target.insertBefore(handle, target.children[k + 1] ?? null); });
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
    return nodes;
  }

  // The values along an axis, some of them where there are many.
  tickNodes(axis) {
    const halo = { stroke: css('panel'), 'stroke-width': 3, 'paint-order': 'stroke' };
    let last = Infinity; // where the tick before stands
    const ticks = [...axis.ticks].sort((a, b) => this.y(axis, b) - this.y(axis, a)).filter((tick) => {
      const hasRoom = last - this.y(axis, tick) >= TICK_ROOM * 0.6;
      if (hasRoom) last = this.y(axis, tick);
      return hasRoom;
    });
    return ticks.map((tick) => {
      const text = axis.tick(tick);
      const place = { x: axis.x + 5, y: this.y(axis, tick) + 4 };
      const label = svg('text', { ...place, ...halo, 'font-size': 11, fill: css('ink') }, shortened(text));
      label.append(svg('title', {}, text));
      return label;
    });
  }

  // Set the range of an axis to shares of the way up, or lift it. The range is rounded outward a little, to hold what is at its ends.
  setRange(axis, shares, dragging = false) {
    const values = shares?.map((share) => valueOfShare(axis, share)).sort((a, b) => a - b);
    const slack = 1e-9 * Math.max(1, Math.abs(axis.high), Math.abs(axis.low));
    const range = values && [values[0] - slack, values[1] + slack];
    this.app.update({ ranges: withKey(this.app.state.ranges, axis.key, range), dragging });
  }

  // Set the range of an axis by dragging along it; a click clears it.
  drag(axis, event) {
    event.preventDefault();
    const from = event.clientY;
    const isClick = (e) => Math.abs(e.clientY - from) < 4;
    const shares = (e) => [this.shareAt(from), this.shareAt(e.clientY)];
    followPointer(
      event,
      (e) => { if (!isClick(e)) this.setRange(axis, shares(e), true); },
      (e) => this.setRange(axis, isClick(e) ? undefined : shares(e)),
    );
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
