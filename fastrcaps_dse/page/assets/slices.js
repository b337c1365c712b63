// Slices: each dimension against an objective. Distributions: each dimension among the best designs, and among all.
const RATE_FIELDS = /\((?:.*,\s*)?lr(?:_max)?=([\d.e+-]+)/; // of a policy in words: its highest learning rate

// What can be put on an axis of a slice: the dimensions that vary, and the learning rate where there are many.
function slicesOf(study) {
  const dimensions = study.dimensions.map((name) => {
    const axis = dimensionAxis(name, study.measured);
    return { title: axis.title, kinds: axis.ticks.map(axis.text), of: (d) => axis.text(axis.of(d)) };
  });
  const rateOf = (d) => Number(RATE_FIELDS.exec(String(d.design.lr_policy))?.[1] ?? NaN);
  const isMany = new Set(study.measured.map(rateOf).filter(Number.isFinite)).size > 1;
  return [...dimensions, ...(isMany ? [{ title: 'highest learning rate', of: rateOf }] : [])];
}

class Slices extends Panel {
  constructor(app) {
    super(app, 'slices-panel');
    $('slices-objective').addEventListener('change', () => this.draw());
    this.body.addEventListener('click', (event) => app.toggle(event.target.dataset?.trial && Number(event.target.dataset.trial)));
  }

  show() {
    const study = this.app.study.whole;
    const column = this.objective('slices-objective');
    const designs = study.measured.filter((d) => this.app.admits(d));
    if (!designs.length) this.say('No design is measured yet.');
    else this.body.replaceChildren(element('div', { className: 'charts' }, ...slicesOf(study).map((slice) => this.chart(slice, column, designs))));
  }

  chart({ title, kinds, of }, column, all) {
    const [width, height] = [this.width(300), 250];
    const designs = all.filter((d) => kinds || Number.isFinite(of(d)));
    const x = kinds ? kindScale(kinds, ROOM.left, width - ROOM.right)
      : { ...scaleOf(designs.map(of), { name: 'rate', log: true }, ROOM.left, width - ROOM.right), text: (v) => significant(v, 3) };
    const y = scaleOf(designs.map((d) => d.values[column.name]), column, height - ROOM.bottom, ROOM.top);
    const label = `${column.title} by ${title}`;
    const { node, plot } = chartOf({ width, height, label, x, y, xTitle: title, yTitle: column.name });
    const spread = kinds ? x.band * 0.5 : 0; // points of a kind stand beside each other, in the order of their trials
    const place = (d) => x.at(of(d)) + spread * (((d.trial * 0.618034) % 1) - 0.5);
    for (const d of [...designs].sort((a, b) => a.on_front - b.on_front)) {
      const at = { cx: place(d), cy: y.at(d.values[column.name]) };
      const isSelected = this.app.state.selected.includes(d.trial);
      const point = d.on_front
        ? svg('path', { d: `M${at.cx} ${at.cy - 6}l6 6l-6 6l-6 -6Z`, class: 'point front' })
        : svg('circle', { ...at, r: 3.5, class: 'point' });
      point.dataset.trial = d.trial;
      if (isSelected) point.classList.add('chosen');
      plot.append(titled(point, `${d.label}, trial ${d.trial}: ${valueText(d, column.name)}${d.on_front ? ', on the front' : ''}`));
    }
    return node;
  }
}

class Distributions extends Panel {
  constructor(app) {
    super(app, 'distributions-panel');
    for (const id of ['distributions-objective', 'distributions-share']) $(id).addEventListener('change', () => this.draw());
  }

  show() {
    const study = this.app.study.whole;
    const column = this.objective('distributions-objective');
    const sign = column.direction === 'maximize' ? -1 : 1;
    const designs = study.measured.filter((d) => this.app.admits(d)).sort((a, b) => sign * (a.values[column.name] - b.values[column.name]));
    if (!designs.length) {
      this.say('No design is measured yet.');
      return;
    }
    const best = designs.slice(0, Math.max(1, Math.round((Number($('distributions-share').value) / 100) * designs.length)));
    const text = `The best ${thousands(best.length)} by ${column.title} (filled) beside all ${counted(designs.length, 'design')} (outlined), as shares of each.`;
    const charts = slicesOf(study).map((slice) => this.chart(slice, designs, best));
    this.body.replaceChildren(element('p', { className: 'hint', textContent: text }), element('div', { className: 'charts' }, ...charts));
  }

  chart({ title, kinds, of }, designs, best) {
    const [width, height] = [this.width(300), 220];
    const bins = kinds || binsOf(designs.map(of).filter(Number.isFinite));
    const binned = kinds ? of : (d) => bins.find((bin) => of(d) <= bin.high * (1 + 1e-12));
    const share = (group, bin) => group.filter((d) => binned(d) === bin).length / (group.length || 1);
    const bars = bins.map((bin) => [bin, share(designs, bin), share(best, bin)]);
    const x = kindScale(bins, ROOM.left, width - ROOM.right);
    if (!kinds) x.text = (bin) => `≤ ${significant(bin.high, 2)}`;
    const y = { ...scaleOf([0, ...bars.flatMap(([, a, b]) => [a, b])], { name: 'share', pad: 0 }, height - ROOM.bottom, ROOM.top), text: (v) => `${fixed(100 * v, 0)} %` };
    const { node, plot } = chartOf({ width, height, label: `${title}: the best designs beside all`, x, y, xTitle: title });
    const half = Math.min(22, x.band * 0.38);
    for (const [bin, all, top] of bars) {
      const bar = (left, value, className) => svg('rect', { x: left, width: half, y: y.at(value), height: y.at(0) - y.at(value), class: className });
      const name = kinds ? bin : `${significant(bin.low, 2)} to ${significant(bin.high, 2)}`;
      const text = `${name}: ${fixed(100 * top, 0)} % of the best, ${fixed(100 * all, 0)} % of all`;
      plot.append(titled(bar(x.at(bin) - half, top, 'best'), text), titled(bar(x.at(bin), all, 'all'), text));
    }
    return node;
  }
}

// Six bins of equal width by logarithm.
function binsOf(values) {
  const logs = values.map(Math.log10);
  const [low, high] = [Math.min(...logs), Math.max(...logs)];
  return Array.from({ length: 6 }, (_, k) => ({ low: 10 ** (low + ((high - low) * k) / 6), high: 10 ** (low + ((high - low) * (k + 1)) / 6) }));
}
