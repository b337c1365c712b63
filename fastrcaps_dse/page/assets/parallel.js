// Parallel coordinates: lines on a canvas, axes and ranges in SVG.
const SVG = 'http://www.w3.org/2000/svg';
const MOST_KINDS = 10; // of a policy or schedule, before only their names are told apart
const PAD = { top: 34, bottom: 26, side: 70 };

function svg(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

class Parallel {
  constructor(app) {
    this.app = app;
    this.node = document.getElementById('parallel');
    this.canvas = document.createElement('canvas');
    this.marks = document.createElement('canvas');
    this.svg = svg('svg', {});
    this.node.append(this.canvas, this.marks, this.svg);
    this.svg.addEventListener('pointermove', (event) => this.over(event));
    this.svg.addEventListener('pointerleave', () => app.setHover(null));
    this.svg.addEventListener('click', (event) => {
      if (event.target.classList.contains('grip')) return;
      const nearest = this.nearest(event);
      if (nearest) app.toggle(nearest.t);
    });
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  axes() {
    const { app } = this;
    const axes = [];
    for (const name of app.dimensions) {
      const many = new Set(app.done.map((d) => d.d[name])).size > MOST_KINDS;
      const kind = (d) => (many ? String(d.d[name]).split('(')[0] : String(d.d[name]));
      const values = [...new Set(app.done.map(kind))].sort((a, b) => (Number.isNaN(a - b) ? Number.isNaN(Number(a)) - Number.isNaN(Number(b)) || (a < b ? -1 : 1) : a - b));
      axes.push({ key: `d.${name}`, title: name.replaceAll('_', ' '), values, of: (d) => values.indexOf(kind(d)), low: 0, high: values.length - 1, tick: (k) => String(values[k]) });
    }
    for (const c of app.objectives) {
      const map = c.log ? (v) => Math.log10(Math.max(v, 1e-9)) : (v) => v;
      const numbers = app.done.map((d) => map(d.v[c.name]));
      axes.push({ key: c.name, title: c.name, of: (d) => map(d.v[c.name]), low: Math.min(...numbers), high: Math.max(...numbers), flip: c.better === 'less', tick: (v) => formatValue(c.name, c.log ? 10 ** v : v) });
    }
    return axes;
  }

  draw() {
    const { app } = this;
    if (!app.done) return;
    this.list = app.done.length ? this.axes() : [];
    const width = Math.max(this.node.clientWidth, this.list.length * 108);
    const height = this.node.clientHeight;
    this.width = width;
    this.height = height;
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
    const step = this.list.length > 1 ? (width - 2 * PAD.side) / (this.list.length - 1) : 0;
    this.list.forEach((axis, k) => { axis.x = PAD.side + k * step; });
    this.points = new Map(app.done.map((d) => [d, this.list.map((axis) => [axis.x, this.y(axis, axis.of(d))])]));
    const context = this.canvas.getContext('2d');
    context.clearRect(0, 0, width, height);
    const shown = app.done.filter((d) => app.isShown(d));
    const dim = Math.max(0.12, Math.min(0.7, 60 / Math.max(1, shown.length)));
    for (const d of shown.filter((one) => !one.f)) this.line(context, d, css('rest'), dim, 1);
    for (const d of shown.filter((one) => one.f)) this.line(context, d, css('front'), 0.8, 1.6);
    this.drawAxes(this.svg);
    this.mark();
    document.getElementById('unbrush').hidden = !Object.keys(app.state.brush).length;
  }

  y(axis, value) {
    const span = axis.high - axis.low;
    const share = span ? (value - axis.low) / span : 0.5;
    const up = axis.flip ? 1 - share : share;
    return this.height - PAD.bottom - up * (this.height - PAD.top - PAD.bottom);
  }

  valueAt(axis, y) {
    const up = (this.height - PAD.bottom - y) / (this.height - PAD.top - PAD.bottom);
    return axis.low + (axis.flip ? 1 - up : up) * (axis.high - axis.low);
  }

  line(context, design, color, alpha, width) {
    context.globalAlpha = alpha;
    context.strokeStyle = color;
    context.lineWidth = width;
    context.beginPath();
    this.points.get(design).forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.stroke();
  }

  mark() {
    if (!this.points) return;
    const { app } = this;
    const context = this.marks.getContext('2d');
    context.clearRect(0, 0, this.width, this.height);
    const put = (d, color, width) => d && this.points.has(d) && this.line(context, d, color, 1, width);
    for (const t of app.state.sel) put(app.byTrial.get(t), css('ink'), 2);
    put(app.picked, css('pick'), 3.5);
    put(app.byTrial.get(app.hover), css('ink'), 3);
  }

  drawAxes(target) {
    const nodes = [];
    for (const axis of this.list) {
      nodes.push(svg('line', { class: 'axis', x1: axis.x, x2: axis.x, y1: PAD.top, y2: this.height - PAD.bottom, stroke: css('faint') }));
      nodes.push(svg('text', { class: 'name', x: axis.x, y: 14, 'text-anchor': 'middle' }, axis.title));
      const ticks = axis.values ? axis.values.map((_, k) => k) : axis.high > axis.low ? [axis.low, (axis.low + axis.high) / 2, axis.high] : [axis.low];
      const some = ticks.length > 9 ? ticks.filter((_, k) => k % Math.ceil(ticks.length / 8) === 0) : ticks;
      for (const tick of some) {
        const text = axis.tick(tick);
        const label = svg('text', { x: axis.x + 5, y: this.y(axis, tick) + 4, stroke: css('panel'), 'stroke-width': 3, 'paint-order': 'stroke', 'font-size': 11, fill: css('ink') }, text.length > 17 ? `${text.slice(0, 16)}…` : text);
        label.append(svg('title', {}, text));
        nodes.push(label);
      }
      const range = this.app.state.brush[axis.key];
      if (range) {
        const [a, b] = range.map((v) => Math.max(PAD.top - 6, Math.min(this.height - PAD.bottom + 6, this.y(axis, v))));
        nodes.push(svg('rect', { class: 'brush', x: axis.x - 9, width: 18, y: Math.min(a, b), height: Math.abs(b - a) }));
      }
      const grip = svg('rect', { class: 'grip', x: axis.x - 12, width: 24, y: PAD.top - 8, height: this.height - PAD.top - PAD.bottom + 16, fill: 'transparent', 'data-axis': axis.key });
      grip.addEventListener('pointerdown', (event) => this.brush(axis, event));
      nodes.push(grip);
    }
    if (!nodes.length) nodes.push(svg('text', { x: this.width / 2, y: this.height / 2, 'text-anchor': 'middle', class: 'none' }, 'no design is measured yet'));
    target.replaceChildren(...nodes);
  }

  brush(axis, event) {
    event.preventDefault();
    const top = this.svg.getBoundingClientRect().top;
    const from = event.clientY - top;
    const move = (e) => {
      const to = e.clientY - top;
      if (Math.abs(to - from) < 4) return;
      const [a, b] = [this.valueAt(axis, from), this.valueAt(axis, to)];
      this.app.setBrush(axis.key, [Math.min(a, b), Math.max(a, b)], false);
    };
    const up = (e) => {
      window.removeEventListener('pointermove', move);
      window.removeEventListener('pointerup', up);
      if (Math.abs(e.clientY - top - from) < 4) this.app.setBrush(axis.key, null, true);
      else this.app.setBrush(axis.key, this.app.state.brush[axis.key], true);
    };
    window.addEventListener('pointermove', move);
    window.addEventListener('pointerup', up);
  }

  // Whether a design lies within all ranges.
  admits(design) {
    const ranges = this.app.state.brush;
    return (this.list || []).every((axis) => {
      const range = ranges[axis.key];
      return !range || (axis.of(design) >= range[0] && axis.of(design) <= range[1]);
    });
  }

  nearest(event) {
    if (!this.points) return null;
    const box = this.svg.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let best = null;
    let distance = 12;
    for (const [d, points] of this.points) {
      if (!this.app.isShown(d)) continue;
      for (let k = 1; k < points.length; k += 1) {
        const [[x0, y0], [x1, y1]] = [points[k - 1], points[k]];
        if (x < x0 || x > x1) continue;
        const away = Math.abs(y0 + ((y1 - y0) * (x - x0)) / (x1 - x0 || 1) - y);
        if (away < distance) [best, distance] = [d, away];
      }
    }
    return best;
  }

  over(event) {
    const nearest = this.nearest(event);
    this.app.setHover(nearest ? nearest.t : null);
  }

  // All of it as SVG text, for export.
  text() {
    const whole = svg('svg', { xmlns: SVG, width: this.width, height: this.height, 'font-family': 'sans-serif' });
    whole.append(svg('rect', { width: this.width, height: this.height, fill: css('ground') }));
    const path = (d, color, opacity, width) => whole.append(svg('polyline', { points: this.points.get(d).map((p) => p.map((v) => v.toFixed(1)).join()).join(' '), fill: 'none', stroke: color, 'stroke-opacity': opacity, 'stroke-width': width }));
    const shown = this.app.done.filter((d) => this.app.isShown(d));
    shown.filter((d) => !d.f).forEach((d) => path(d, css('rest'), 0.4, 1));
    shown.filter((d) => d.f).forEach((d) => path(d, css('front'), 0.9, 1.6));
    const axes = svg('g', {});
    this.drawAxes(axes);
    whole.append(axes);
    return new XMLSerializer().serializeToString(whole);
  }
}
