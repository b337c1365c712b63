// The scatter of two columns of the study: one panel of the front's flat views.
const BUTTON_ROOM = 24; // px above a panel that has a button

// What a panel shows: places of the designs, points of each group, what lies under and over them. It touches no node of the page.
class PairPicture {
  constructor(scatter, { x, y, width, height }) {
    Object.assign(this, { scatter, names: { x, y }, app: scatter.app });
    const [axisX, axisY] = [scatter.axis(x), scatter.axis(y)];
    const top = scatter.isGrid() ? BUTTON_ROOM : PADS.top;
    this.frame = new Frame({ width, height, top, x: axisX, y: axisY, zoom: { x: scatter.zoom[x], y: scatter.zoom[y] } });
    this.places = new Map(); // by design, of those in the frame
    this.layers = scatter.groups.map((group) => this.layer(group, axisX, axisY));
  }

  // The points of a group: those that stand at the same half px are stamped once, which looks the same.
  layer({ key, designs }, axisX, axisY) {
    const { frame, names } = this;
    const seen = new Set();
    const points = [];
    for (const design of designs) {
      const [x, y] = [frame.x(axisX.at(design.values[names.x])), frame.y(axisY.at(design.values[names.y]))];
      if (!frame.holds(x, y, 1)) continue;
      this.places.set(design, { x, y, design, isIn: key !== 'outside' });
      const spot = Math.round(2 * x) * 65536 + Math.round(2 * y);
      if (!seen.has(spot)) points.push(x, y);
      seen.add(spot);
    }
    return { key, style: flatStyle(key, this.app.study.measured.length), points };
  }

  // The designs that are in the front of these two columns alone, by the column of x; without those that ranges or filter leave out.
  frontOfPair() {
    const { x, y } = this.names;
    const columns = [x, y].map((name) => this.app.study.column(name));
    const designs = this.scatter.groups.filter(({ key }) => key !== 'outside').flatMap((group) => group.designs);
    const costs = designs.map((d) => columns.map(({ name, direction }) => (direction === 'maximize' ? -d.values[name] : d.values[name])));
    const order = designs.map((_, k) => k).sort((a, b) => compare(costs[a], costs[b]));
    let lowest = Infinity;
    return order.filter((k) => {
      const isBetter = costs[k][1] < lowest;
      if (isBetter) lowest = costs[k][1];
      return isBetter;
    }).map((k) => designs[k]);
  }

  // The designs of the anytime view as lines through their points, each as places in px.
  runs(designs) {
    if (!this.app.study.isEveryEpoch) return [];
    const { frame: { axes } } = this;
    const isShown = (d) => !this.scatter.outside.has(d);
    const trials = designs ? [...new Set(designs.map((d) => d.trial))] : [...this.app.study.runs.keys()];
    return trials.map((trial) => this.app.study.of(trial).filter(isShown).map((d) => [
      this.frame.x(axes.x.at(d.values[this.names.x])), this.frame.y(axes.y.at(d.values[this.names.y])),
    ])).filter((places) => places.length > 1);
  }

  // These lines as one SVG path, cut at the frame.
  runNodes(designs, paint) {
    const d = this.runs(designs).map(polyline).join('');
    return d ? [svg('path', { d, class: 'runs', fill: 'none', 'stroke-width': 1, 'clip-path': `url(#${this.clipId()})`, ...paint })] : [];
  }

  clipId() {
    return `clip-${this.names.x}-${this.names.y}`.replace(/[^\w-]/g, '_');
  }

  clipNode() {
    const { left, top, right, bottom } = this.frame;
    const clip = svg('clipPath', { id: this.clipId() });
    clip.append(svg('rect', { x: left, y: top, width: right - left, height: bottom - top }));
    return clip;
  }

  // The front of the pair as a step line: what lies on its other side is dominated.
  stepNodes() {
    const { frame, names } = this;
    const { x: axisX, y: axisY } = frame.axes;
    const places = this.frontOfPair().map((d) => [frame.x(axisX.at(d.values[names.x])), frame.y(axisY.at(d.values[names.y]))]);
    if (!places.length) return [];
    const steps = places.flatMap(([x, y], k) => (k ? [[x, places[k - 1][1]], [x, y]] : [[x, y]]));
    const line = { d: polyline(steps), class: 'steps', fill: 'none', stroke: css('front'), 'stroke-width': 1.5, 'stroke-opacity': 0.8 };
    return [svg('path', { ...line, 'clip-path': `url(#${this.clipId()})` })];
  }

  // Bars of one standard error on each side.
  barNodes() {
    const bars = { front: '', rest: '' };
    for (const { design, x, y, isIn } of this.places.values()) {
      if (!isIn || !design.errors || !this.scatter.hasBars(design)) continue;
      bars[design.on_front ? 'front' : 'rest'] += this.bar(design, x, y);
    }
    return Object.entries(bars).filter(([, d]) => d).map(([color, d]) => (
      svg('path', { d, class: 'bars', fill: 'none', stroke: css(color), 'stroke-width': 1.2, 'stroke-opacity': color === 'front' ? 0.9 : 0.5 })
    ));
  }

  bar(design, x, y) {
    const { frame, names } = this;
    const cut = (value, low, high) => Math.max(low, Math.min(high, value)).toFixed(1);
    const ends = (name) => [-1, 1].map((sign) => design.values[name] + sign * design.errors[name]);
    let d = '';
    if (design.errors[names.x]) {
      const [a, b] = ends(names.x).map((v) => cut(frame.x(frame.axes.x.at(v)), frame.left, frame.right));
      d += `M${a} ${y.toFixed(1)}H${b}`;
    }
    if (design.errors[names.y]) {
      const [a, b] = ends(names.y).map((v) => cut(frame.y(frame.axes.y.at(v)), frame.top, frame.bottom));
      d += `M${x.toFixed(1)} ${a}V${b}`;
    }
    return d;
  }

  under() {
    const count = this.app.study.runs?.size ?? 0;
    const lines = this.runNodes(null, { stroke: css('rest'), 'stroke-opacity': Math.max(0.1, Math.min(0.5, 40 / (count || 1))) });
    return [this.clipNode(), ...this.frame.grid(), ...lines, ...this.stepNodes(), ...this.barNodes()];
  }

  // The marks of single designs, of one kind.
  markNodes(key) {
    const designs = this.scatter.marked(key);
    const lines = this.runNodes(designs, { stroke: css(key === 'pick' ? 'pick' : 'ink'), 'stroke-width': 1.5 });
    return [...lines, ...designs.filter((d) => this.places.has(d)).map((d) => markNode(key, this.places.get(d), d.trial, lines.length ? 0.7 : 1))];
  }

  // The numbers of the picked, the selected and the front's designs, as many as have room.
  labelNodes() {
    const ofPair = new Set(this.frontOfPair());
    const picked = this.scatter.marked('pick');
    const front = this.app.study.measured.filter((d) => d.on_front && this.places.get(d)?.isIn);
    const order = [...picked, ...this.scatter.marked('selected'), ...front.filter((d) => ofPair.has(d)), ...front];
    const designs = [...new Set(order)].filter((d) => this.places.has(d));
    const radius = flatStyle('front', this.app.study.measured.length).radius;
    const items = new Map(); // one for each place; how many more are there is said behind the number
    for (const d of designs) {
      const place = this.places.get(d);
      const spot = `${Math.round(place.x)} ${Math.round(place.y)}`;
      const isPick = picked.includes(d);
      const look = isPick ? { radius: 8, weight: 700, color: css('pick') } : { radius: radius + 1, weight: 400, color: css('ink') };
      if (items.has(spot)) items.get(spot).more += 1;
      else items.set(spot, Object.assign(look, place, { name: shortName(d), more: 0, isNeeded: isPick }));
    }
    for (const item of items.values()) item.text = item.more ? `${item.name} +${item.more}` : item.name;
    return placedLabels([...items.values()], this.faintPlaces(), this.frame).flatMap((label) => labelNodes(label));
  }

  // What labels cover only if they must: the other designs, where they are few.
  faintPlaces() {
    if (this.places.size > MANY) return [];
    return [...this.places.values()].filter(({ isIn }) => isIn).map(({ x, y }) => ({ x, y, radius: 2 }));
  }

  // All of it as one SVG group, to save.
  whole() {
    const group = svg('g', {});
    group.append(...this.under(), ...this.layers.map(({ style, points }) => stampedPath(style, points)), ...this.frame.texts());
    group.append(...['selected', 'pick'].flatMap((key) => this.markNodes(key)), ...this.labelNodes());
    return group;
  }
}

// A panel on the page: the picture as a canvas between two drawings.
class Pair {
  constructor(scatter) {
    Object.assign(this, { scatter, app: scatter.app, names: null, picture: null });
    this.enlarge = element('button', { type: 'button', className: 'enlarge', textContent: '⤢' });
    this.enlarge.addEventListener('click', () => this.app.update({ ...this.names, view: 'one' }));
    this.under = svg('svg', { 'aria-hidden': true });
    this.canvas = element('canvas');
    this.over = svg('svg', { role: 'img' });
    this.texts = svg('g', {});
    this.labels = svg('g', {});
    this.marks = Object.fromEntries(MARKS.map((key) => [key, svg('g', {})]));
    this.over.append(this.texts, ...Object.values(this.marks), this.labels);
    this.node = element('div', { className: 'pair' }, this.under, this.canvas, this.over, this.enlarge);
    followPlot(this.node, {
      hover: (place, event) => this.hover(place, event),
      click: (place) => this.click(place),
      zoom: (from, to) => this.zoomTo(this.picture.frame.rangesOf(from, to)),
      reset: () => scatter.unzoom(),
    });
  }

  nearest(place) {
    const near = nearestOf(this.picture?.places.values() ?? [], place);
    return near?.isIn ? near.design : null;
  }

  click(place) {
    const design = this.nearest(place);
    if (design) this.app.toggle(design.trial, false, design.key);
  }

  hover(place, event) {
    const design = place && this.nearest(place);
    if (design) tip.show(tipLines(design, this.app.study.columns), event);
    else tip.hide();
    this.app.update({ hover: design?.key ?? null });
  }

  zoomTo(ranges) {
    this.scatter.zoomTo({ [this.names.x]: ranges.x, [this.names.y]: ranges.y });
  }

  draw({ x, y }) {
    this.names = { x, y };
    const { clientWidth: width, clientHeight: height } = this.node;
    this.picture = new PairPicture(this.scatter, { x, y, width, height });
    const scale = window.devicePixelRatio || 1;
    Object.assign(this.canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
    const context = this.canvas.getContext('2d');
    for (const { style, points } of this.picture.layers) stamp(context, style, points, scale);
    for (const node of [this.under, this.over]) {
      node.setAttribute('width', width);
      node.setAttribute('height', height);
    }
    const [titleX, titleY] = [x, y].map((name) => this.scatter.axis(name).title);
    this.over.setAttribute('aria-label', `${titleY} over ${titleX}; the table holds the same values`);
    this.enlarge.hidden = !this.scatter.isGrid();
    this.enlarge.setAttribute('aria-label', `Enlarge: ${titleY} over ${titleX}`);
    this.enlarge.title = 'Enlarge';
    this.under.replaceChildren(...this.picture.under());
    this.texts.replaceChildren(...this.picture.frame.texts());
    for (const key of MARKS) this.mark(key);
  }

  mark(key) {
    this.marks[key].replaceChildren(...this.picture.markNodes(key));
    if (key !== 'hover') this.labels.replaceChildren(...this.picture.labelNodes());
  }
}
