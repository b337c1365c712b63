// A second study beside this one: the fronts of both by two objectives, and their hypervolumes against one reference point.
const REFERENCE = 1.1; // of the range of both studies, from the best value

// The designs that no other dominates by two objectives, from the best to the worst by the first.
function frontBy(designs, [a, b]) {
  const sign = (c) => (c.direction === 'maximize' ? -1 : 1);
  const sorted = designs.toSorted((p, q) => sign(a) * (p.values[a.name] - q.values[a.name]) || sign(b) * (p.values[b.name] - q.values[b.name]));
  let lowest = Infinity;
  return sorted.filter((d) => {
    const cost = sign(b) * d.values[b.name];
    if (cost >= lowest) return false;
    lowest = cost;
    return true;
  });
}

// What each of two objectives costs, as a share of the range of all designs: 0 is the best value measured, 1 the worst.
function sharesBy(designs, columns) {
  return columns.map((c) => {
    const map = c.log ? (v) => Math.log(Math.max(v, 1e-9)) : (v) => v;
    const values = designs.map((d) => map(d.values[c.name]));
    const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
    return (d) => (c.direction === 'maximize' ? high - map(d.values[c.name]) : map(d.values[c.name]) - low) / (high - low || 1);
  });
}

// The area that a front of two objectives dominates, up to the reference point, as a share of the whole.
function areaOf(front, [first, second]) {
  let [area, last] = [0, REFERENCE];
  for (const d of front) {
    area += (REFERENCE - first(d)) * (last - second(d));
    last = second(d);
  }
  return area / REFERENCE ** 2;
}

// What makes two studies hard to compare, in words.
function differences(facts, others) {
  return Object.keys(facts).filter((key) => facts[key] !== others[key]).map((key) => `${key}: ${facts[key] || 'none yet'} here, ${others[key] || 'none yet'} there`);
}

class Compare extends Panel {
  constructor(app) {
    super(app, 'compare-panel');
    this.other = null; // the second study
    for (const id of ['compare-x', 'compare-y']) $(id).addEventListener('change', () => this.draw());
    $('compare-study').addEventListener('change', (event) => this.choose(event.target.value));
  }

  // Offer the studies that this one can be compared with.
  offer(names) {
    this.node.hidden = !names.length;
    fill($('compare-study'), [['', 'choose a study'], ...names.map((name) => [name, name])], this.other?.name ?? '');
    if (this.app.source.compared) this.choose(names[0]);
  }

  async choose(name) {
    this.other = null;
    try {
      if (name) this.other = new Study(await this.app.source.other(name));
      $('compare-study').value = name;
      this.draw();
    } catch (error) {
      this.say(`The study cannot be read: ${error.message}`);
    }
  }

  // The two objectives, of those that both studies measured.
  columns() {
    const shared = this.app.study.whole.columns.filter((c) => this.other.column(c.name));
    const ids = ['compare-x', 'compare-y'];
    ids.forEach((id, k) => {
      const { value } = $(id);
      fill($(id), shared.map((c) => [c.name, c.title]), shared.some((c) => c.name === value) ? value : shared[Math.min(k, shared.length - 1)]?.name);
    });
    return ids.map((id) => this.app.study.whole.column($(id).value));
  }

  show() {
    if (!this.other) {
      this.say('Choose a second study.');
      return;
    }
    const columns = this.columns();
    const groups = [this.app.study.whole, this.other].map((study) => study.measured.filter((d) => columns.every((c) => c && c.name in d.values)));
    if (groups.some((designs) => !designs.length)) {
      this.say('One of the studies has no measured design yet.');
      return;
    }
    if (columns[0] === columns[1]) {
      this.say('Choose two different objectives.');
      return;
    }
    const shares = sharesBy(groups.flat(), columns);
    const fronts = groups.map((designs) => frontBy(designs, columns));
    const areas = fronts.map((front) => areaOf(front, shares));
    this.body.replaceChildren(...this.texts(fronts, areas, columns), this.chart(groups, fronts, columns));
  }

  texts(fronts, areas, columns) {
    const names = [this.app.study.name, this.other.name];
    const logarithmic = columns.filter((c) => c.log).map((c) => c.title);
    const how = `Hypervolume of both against one reference point, at ${REFERENCE} times the range of both studies`
      + `${logarithmic.length ? `; ${logarithmic.join(' and ')} by the logarithm` : ''}.`;
    const lines = names.map((name, k) => {
      const key = element('span', { textContent: '▬ ', className: `key-${k}`, ariaHidden: 'true' });
      return element('li', {}, key, `${name}: ${counted(fronts[k].length, 'design')} on this front, hypervolume ${fixed(100 * areas[k], 1)} %`);
    });
    const found = differences(this.app.study.facts, this.other.facts);
    const warning = element('p', { className: 'wrong', textContent: found.length ? `Not measured alike, so differences need not come from the designs. ${found.join('; ')}.` : '' });
    return [warning, element('ul', { className: 'keys' }, ...lines), element('p', { className: 'hint', textContent: how })];
  }

  chart(groups, fronts, columns) {
    const [width, height] = [Math.min(900, Math.max(240, this.body.clientWidth)), 380];
    const values = columns.map((c) => groups.flat().map((d) => d.values[c.name]));
    const x = scaleOf(values[0], columns[0], ROOM.left, width - ROOM.right);
    const y = scaleOf(values[1], columns[1], height - ROOM.bottom, ROOM.top);
    const label = `The fronts of both studies: ${columns[1].title} by ${columns[0].title}`;
    const { node, plot } = chartOf({ width, height, label, x, y, xTitle: columns[0].title, yTitle: columns[1].title });
    groups.forEach((designs, k) => {
      const at = (d) => [x.at(d.values[columns[0].name]), y.at(d.values[columns[1].name])];
      const members = new Set(fronts[k]);
      const steps = fronts[k].map(at).reduce((path, [px, py], i) => (i ? `${path}H${px}V${py}` : `M${px} ${py}`), '');
      plot.append(svg('path', { d: steps, class: `front-line key-${k}` }));
      for (const d of designs) {
        const [cx, cy] = at(d);
        const isMember = members.has(d);
        const mark = svg('circle', { cx, cy, r: isMember ? 4.5 : 2.5, class: `front-mark key-${k}${isMember ? ' member' : ''}` });
        plot.append(titled(mark, `${[this.app.study.whole, this.other][k].name}, trial ${d.trial}: ${d.label}: ${columns.map((c) => valueText(d, c.name)).join(', ')}`));
      }
    });
    return node;
  }
}
