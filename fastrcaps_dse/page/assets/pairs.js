// The flat views of the front: a panel for each pair of objectives, or one large panel.
const NARROW = 560; // px, below which the panels stand one below the other
const WIDE = 840; // px, from which many panels stand three in a row

// The pairs of the study's objectives, what comes first in the study upward. A study of one objective has a pair with another column.
function pairsOf(study) {
  const names = study.names.length > 1 ? study.names : study.columns.slice(0, 2).map((c) => c.name);
  return names.flatMap((y, k) => names.slice(k + 1).map((x) => ({ x, y })));
}

class Pairs {
  constructor(scatter) {
    this.scatter = scatter;
    this.node = element('div', { className: 'pairs' });
    this.panels = [];
    onResize(this.node, () => scatter.draw());
  }

  draw(pairs) {
    while (this.panels.length > pairs.length) this.panels.pop().node.remove();
    while (this.panels.length < pairs.length) {
      const panel = new Pair(this.scatter);
      this.panels.push(panel);
      this.node.append(panel.node);
    }
    const columns = this.columnsOf(pairs.length);
    this.node.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    // one that is left over in the last row makes room in the first
    this.panels.forEach(({ node }, k) => { node.style.gridColumn = !k && pairs.length % columns === 1 ? '1 / -1' : ''; });
    this.panels.forEach((panel, k) => panel.draw(pairs[k]));
  }

  columnsOf(count) {
    const width = this.node.clientWidth;
    if (count === 1 || width < NARROW) return 1;
    return count > 3 && width >= WIDE ? 3 : 2;
  }

  mark(key) {
    for (const panel of this.panels) panel.mark(key);
  }

  // The panels as they stand, to save: SVG with its size.
  text() {
    const box = this.node.getBoundingClientRect();
    const [width, height] = [Math.ceil(box.width), Math.ceil(box.height)];
    const whole = svg('svg', { xmlns: SVG, width, height, 'font-family': FONT });
    for (const { node, names } of this.panels) {
      const own = node.getBoundingClientRect();
      const picture = new PairPicture(this.scatter, { ...names, width: node.clientWidth, height: node.clientHeight });
      const group = picture.whole();
      group.setAttribute('transform', `translate(${own.left - box.left} ${own.top - box.top})`);
      whole.append(group);
    }
    return { text: new XMLSerializer().serializeToString(whole), width, height };
  }
}
