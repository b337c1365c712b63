// A plot of lines over one axis.
const DASHES = ['', '7 4', '2 3'];
const DASH_SYMBOLS = ['━━', '╍╍', '┅┅'];
const PLANNED = '1 5'; // the dashes of what is planned, not trained
const SHOWN_MARKS = 60; // points of a line, up to which each has a mark

// The line through points `[x, y]`, in px, up to a place and from there on.
function cutAt(points, place) {
  const k = points.findIndex(([x]) => x > place);
  if (k <= 0) return k ? [points, []] : [[], points];
  const [[x0, y0], [x1, y1]] = [points[k - 1], points[k]];
  const cut = [place, y0 + ((y1 - y0) * (place - x0)) / (x1 - x0)];
  return [[...points.slice(0, k), cut], [cut, ...points.slice(k)]];
}

// What a chart shows: `{ x, y, series, none }`. `x` and `y` are axes, `none` what is said if there are no series. Each of the series has
// `points` of two values, `color`, `name`, `trial`, and `say(k)`, the lines beside the pointer; it may have a `dash`, a `band` of lowest and
// highest values, `isStep`, `until` (the x from which it is only planned), `hasMarks`, `hasEpochs` (x counts them), and `members`, points
// of the front.
class ChartPicture {
  constructor(spec, { id, ...size }) {
    Object.assign(this, { spec, id });
    this.frame = new Frame({ ...size, x: spec.x, y: spec.y });
    this.places = spec.series.flatMap((series) => this.pointsOf(series).map(([x, y], k) => ({ x, y, k, series })))
      .filter(({ x, y }) => this.frame.holds(x, y, 1));
  }

  pointsOf({ points }) {
    const { frame, spec } = this;
    return points.map(([x, y]) => [frame.x(spec.x.at(x)), frame.y(spec.y.at(y))]);
  }

  lineNodes(series) {
    const { frame, spec } = this;
    const { color, dash = '', isStep, until, band, hasMarks } = series;
    const points = this.pointsOf(series);
    const path = isStep ? points.flatMap(([x, y], k) => (k ? [[x, points[k - 1][1]], [x, y]] : [[x, y]])) : points;
    const [done, planned] = until === undefined ? [path, []] : cutAt(path, frame.x(spec.x.at(until)));
    const line = { fill: 'none', stroke: color, 'stroke-width': 2, 'stroke-linejoin': 'round' };
    const nodes = [];
    if (band) {
      const edge = (values) => values.map((value, k) => [points[k][0], frame.y(spec.y.at(value))]);
      nodes.push(svg('path', { class: 'band', d: `${polyline([...edge(band.high), ...edge(band.low).toReversed()])}Z`, fill: color, 'fill-opacity': 0.2 }));
    }
    if (done.length) nodes.push(svg('path', { ...line, class: 'curve', 'data-trial': series.trial, d: polyline(done), 'stroke-dasharray': dash }));
    if (planned.length) {
      nodes.push(svg('path', { ...line, class: 'planned', 'data-trial': series.trial, d: polyline(planned), 'stroke-dasharray': PLANNED }));
    }
    if (hasMarks && points.length <= SHOWN_MARKS) {
      nodes.push(svg('path', { class: 'points', d: points.map(([x, y]) => outline('circle', 2.5, x, y)).join(''), fill: color }));
    }
    if (series.members?.length) {
      const marks = this.pointsOf({ points: series.members }).map(([x, y]) => outline('diamond', 5.5, x, y)).join('');
      nodes.push(svg('path', { class: 'members', d: marks, fill: color, stroke: css('panel'), 'stroke-width': 1 }));
    }
    return nodes;
  }

  nodes() {
    const { frame, spec } = this;
    if (!spec.series.length) {
      const middle = { x: frame.width / 2, y: frame.height / 2, 'text-anchor': 'middle', 'font-size': 14, fill: css('ink') };
      return [svg('text', middle, spec.none)];
    }
    const clip = svg('clipPath', { id: this.id });
    clip.append(svg('rect', { x: frame.left, y: frame.top - 3, width: frame.right - frame.left, height: frame.bottom - frame.top + 6 }));
    const lines = svg('g', { 'clip-path': `url(#${this.id})` });
    lines.append(...spec.series.flatMap((series) => this.lineNodes(series)));
    return [...frame.grid(), clip, lines, ...frame.texts()];
  }
}

class Chart {
  // `shared` holds the zoomed range of x, and the charts that have it. What else is given goes to each Frame.
  constructor(app, node, { shared = { charts: [], x: undefined }, ...frame } = {}) {
    Object.assign(this, { app, node, frame, shared, zoomY: undefined, spec: null, picture: null });
    this.drawing = svg('svg', { 'aria-hidden': true });
    this.spot = svg('circle', { r: 5, fill: 'none', 'stroke-width': 2, visibility: 'hidden' });
    node.append(this.drawing);
    shared.charts.push(this);
    followPlot(node, {
      hover: (place, event) => this.hover(place, event),
      click: (place) => this.click(place),
      zoom: (from, to) => this.zoomTo(this.picture.frame.rangesOf(from, to)),
      reset: () => this.zoomTo({}),
    });
    onResize(node, () => this.redraw());
  }

  hover(place, event) {
    const near = place && this.picture ? nearestOf(this.picture.places, place, 2 * NEAR) : null;
    if (near) {
      tip.show(near.series.say(near.k), event);
      for (const [name, value] of [['cx', near.x], ['cy', near.y], ['stroke', near.series.color]]) this.spot.setAttribute(name, value);
    } else tip.hide();
    this.spot.setAttribute('visibility', near ? 'visible' : 'hidden');
    this.app.update({ hover: near ? this.app.study.keyAt(...this.trialAt(near)) ?? null : null });
  }

  // The trial of a place, and the epoch.
  trialAt({ series, k }) {
    return [series.trial ?? series.trials?.[k], series.hasEpochs ? series.points[k][0] : undefined];
  }

  click(place) {
    const near = this.picture && nearestOf(this.picture.places, place, 2 * NEAR);
    if (near) this.app.toggle(this.trialAt(near)[0], false, this.app.study.keyAt(...this.trialAt(near)));
  }

  // The range of x is that of all charts that share it.
  zoomTo({ x, y }) {
    this.shared.x = x;
    this.zoomY = y;
    for (const chart of this.shared.charts) chart.redraw();
  }

  draw(spec) {
    this.spec = spec;
    this.redraw();
  }

  pictureOf(id) {
    const { clientWidth: width, clientHeight: height } = this.node;
    const zoom = { x: this.shared.x, y: this.zoomY };
    return new ChartPicture(this.spec, { ...this.frame, width, height, zoom, id });
  }

  redraw() {
    if (!this.spec) return;
    this.picture = this.pictureOf(`clip-${this.node.id}`);
    const { width, height } = this.picture.frame;
    this.drawing.setAttribute('width', width);
    this.drawing.setAttribute('height', height);
    this.drawing.replaceChildren(...this.picture.nodes(), this.spot);
    this.spot.setAttribute('visibility', 'hidden');
  }

  // The chart as it stands, to save: SVG with its size.
  text() {
    const { clientWidth: width, clientHeight: height } = this.node;
    const whole = svg('svg', { xmlns: SVG, width, height, 'font-family': FONT });
    whole.append(...this.pictureOf(`saved-${this.node.id}`).nodes());
    return { text: new XMLSerializer().serializeToString(whole), width, height };
  }
}
