// Small charts as SVG, for the panels that unfold.
const LETTER = 6.2; // px, of a text along an axis
const ROOM = { left: 62, right: 14, top: 10, bottom: 46 };

// How an axis maps values to pixels, from `from` to `to`. `values` are all that it shows; `log` as the column says.
function scaleOf(values, { name, log = false, pad = 0.04 }, from, to) {
  const numbers = values.filter(Number.isFinite);
  const isLog = log && numbers.every((v) => v > 0);
  const map = isLog ? Math.log10 : (v) => v;
  const [low, high] = numbers.length ? [numbers.reduce((a, b) => Math.min(a, b)), numbers.reduce((a, b) => Math.max(a, b))] : [0, 1];
  const margin = pad * (map(high) - map(low) || 1);
  const [first, last] = [map(low) - margin, map(high) + margin];
  const count = Math.max(2, Math.abs(to - from) / (from < to ? 80 : 32));
  return { at: (v) => from + ((map(v) - first) / (last - first)) * (to - from), ticks: ticksOf({ name, log: isLog }, low, high, count), name };
}

// A scale of kinds, each in the middle of a band.
function kindScale(kinds, from, to) {
  const band = (to - from) / kinds.length;
  return { at: (kind) => from + band * (kinds.indexOf(kind) + 0.5), ticks: kinds, band, name: null };
}

const scaleText = (scale, tick) => (scale.text ? scale.text(tick) : scale.name === null ? shortened(String(tick)) : valueTick(scale.name, tick));

// An empty chart with its axes. { node, plot }: the drawing, and the group for marks. `left` is where the plot begins, in px.
function chartOf({ width, height, label, x, y, xTitle, yTitle, left = ROOM.left }) {
  const node = svg('svg', { width, height, viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label, class: 'chart' });
  const bottom = height - ROOM.bottom;
  const texts = x.ticks.map((tick) => scaleText(x, tick));
  const need = LETTER * Math.max(...texts.map((text) => text.length)) + 8;
  const room = (width - left - ROOM.right) / texts.length;
  const every = Math.max(1, Math.ceil(need / (2 * room))); // of two rows of texts, where one has no room for all
  x.ticks.forEach((tick, k) => {
    if (k % every) return;
    const row = need > room && (k / every) % 2 ? 11 : 0;
    node.append(
      svg('line', { class: 'grid', x1: x.at(tick), x2: x.at(tick), y1: ROOM.top, y2: bottom + row }),
      svg('text', { x: x.at(tick), y: bottom + 13 + row, 'text-anchor': 'middle' }, texts[k]),
    );
  });
  for (const tick of y.ticks) {
    node.append(
      svg('line', { class: 'grid', x1: left, x2: width - ROOM.right, y1: y.at(tick), y2: y.at(tick) }),
      svg('text', { x: left - 6, y: y.at(tick) + 4, 'text-anchor': 'end' }, scaleText(y, tick)),
    );
  }
  const plot = svg('g', {});
  node.append(
    svg('text', { class: 'title', x: (left + width - ROOM.right) / 2, y: height - 6, 'text-anchor': 'middle' }, xTitle),
    plot,
  );
  if (yTitle) node.append(svg('text', { class: 'title', transform: `translate(12 ${(ROOM.top + bottom) / 2}) rotate(-90)`, 'text-anchor': 'middle' }, yTitle));
  return { node, plot };
}

// A mark with a text that the pointer shows.
function titled(node, text) {
  node.append(svg('title', {}, text));
  return node;
}

// A panel that unfolds: it is drawn when it is opened, and again while it is open.
class Panel {
  constructor(app, id) {
    this.app = app;
    this.node = $(id);
    this.body = this.node.querySelector('.body');
    this.node.addEventListener('toggle', () => this.draw());
  }

  draw() {
    if (!this.node.open) return;
    this.sayWhole();
    this.show();
  }

  // In the anytime view, say that this panel is of whole runs all the same.
  sayWhole() {
    this.whole ??= element('p', { className: 'hint', textContent: 'Of whole runs in either view.', hidden: true });
    if (!this.whole.isConnected) this.body.before(this.whole);
    this.whole.hidden = !this.app.study.isEveryEpoch;
  }

  // The width that a chart may have, in px.
  width(wanted, gap = 12) {
    const all = Math.max(240, this.body.clientWidth);
    const columns = Math.max(1, Math.floor((all + gap) / (wanted + gap)));
    return Math.floor((all - gap * (columns - 1)) / columns);
  }

  // The menu of objectives of this panel, with what is chosen in it.
  objective(id) {
    const menu = $(id);
    const { columns } = this.app.study.whole;
    fill(menu, columns.map((c) => [c.name, c.title]), columns.some((c) => c.name === menu.value) ? menu.value : columns[0].name);
    return this.app.study.whole.column(menu.value);
  }

  say(text) {
    this.body.replaceChildren(element('p', { className: 'hint', textContent: text }));
  }
}
