// The panel of the Pareto front: its views (all pairs of objectives, one pair, 3D), what they share, and its legend.
const ERROR_FROM = 90; // %: where all accuracies are above it, the errors are shown

class Scatter {
  constructor(app) {
    Object.assign(this, { app, node: $('scatter'), groups: [], zoom: {}, axes: new Map() });
    this.pairs = new Pairs(this);
    this.scene = new Scene(this);
    this.node.append(this.pairs.node, this.scene.node);
    for (const button of document.querySelectorAll('#views button')) {
      button.addEventListener('click', () => app.update({ view: button.dataset.view }));
    }
    $('error').addEventListener('change', (event) => app.update({ error: event.target.checked ? '1' : '0' }));
    $('unzoom').addEventListener('click', () => this.unzoom());
    $('untwist').addEventListener('click', () => {
      app.update({ camera: '' });
      this.scene.draw();
    });
  }

  // Whether accuracies are shown as errors: as the user says, or else where all are high.
  isError() {
    const { study, state } = this.app;
    if (state.error) return state.error === '1';
    return study.measured.length > 0 && study.measured.every((d) => d.values.acc === undefined || d.values.acc > ERROR_FROM);
  }

  isGrid() {
    return this.view() === 'pairs';
  }

  view() {
    const { view } = this.app.state;
    return view === '3d' && !canDraw3d() ? 'one' : view;
  }

  // The axis of a column, the same in all panels.
  axis(name) {
    if (!this.axes.has(name)) {
      const { study } = this.app;
      this.axes.set(name, columnAxis(study.column(name), study.measured.map((d) => d.values[name]), this.isError()));
    }
    return this.axes.get(name);
  }

  // The measured designs that a mark is on.
  marked(key) {
    const { study, state, answer } = this.app;
    const designs = { selected: () => state.selected.flatMap((trial) => study.of(trial)), hover: () => [study.byKey.get(state.hover)], pick: () => [answer.design] };
    return designs[key]().filter((d) => d?.values);
  }

  hasBars(design) {
    return design.on_front || this.app.study.measured.length <= MANY;
  }

  async draw() {
    const { study, state } = this.app;
    this.axes = new Map();
    this.groups = groupsOf(this.app);
    this.outside = new Set(this.groups.find(({ key }) => key === 'outside').designs);
    const view = this.view();
    this.drawControls(view);
    this.drawLegend(view);
    this.pairs.node.hidden = view === '3d';
    this.scene.node.hidden = view !== '3d';
    if (!study.measured.length) {
      this.pairs.draw([]);
      this.say('no design is measured yet');
    } else if (view === '3d') {
      this.say(window.Plotly ? '' : 'loading 3D');
      try {
        await this.app.source.library();
      } catch (problem) {
        this.say(`3D cannot be shown: ${problem.message}`);
        return;
      }
      if (this.view() !== '3d') return; // the user went on meanwhile
      this.say('Drag to turn. Click the scene, or hold Ctrl, to zoom with the wheel.');
      this.scene.draw();
    } else {
      this.say(state.view === '3d' ? NO_WEBGL : '');
      this.pairs.draw(view === 'pairs' ? pairsOf(study) : [{ x: state.x, y: state.y }]);
    }
  }

  say(text) {
    if ($('scatter-note').textContent !== text) $('scatter-note').textContent = text;
  }

  drawControls(view) {
    for (const button of document.querySelectorAll('#views button')) button.setAttribute('aria-pressed', button.dataset.view === view);
    $('axes').hidden = view === 'pairs';
    $('axis-z').parentElement.hidden = view !== '3d';
    $('error').checked = this.isError();
    $('error').parentElement.hidden = !this.app.study.column('acc');
    $('unzoom').hidden = view === '3d' || !Object.keys(this.zoom).length;
    $('untwist').hidden = view !== '3d';
  }

  zoomTo(ranges) {
    this.zoom = { ...this.zoom, ...ranges };
    this.draw();
  }

  unzoom() {
    this.zoom = {};
    this.draw();
  }

  // What the legend lists: a symbol or a line, its color and its meaning.
  legend(view) {
    const items = this.groups.filter(({ designs }) => designs.length).map(({ key, name, designs }) => {
      const { symbol, color } = styleOf(key);
      return { symbol: SYMBOLS[symbol], color, text: `${name} (${thousands(designs.length)})` };
    });
    if (this.marked('pick').length) items.push({ symbol: SYMBOLS.square, color: css('pick'), text: 'picked' });
    if (view === '3d' || !items.length) return items;
    items.push({ symbol: '━', color: css('front'), text: 'front of the two objectives shown' });
    if (this.app.study.isEveryEpoch) items.push({ symbol: '─', color: css('rest'), text: 'a design, epoch by epoch; 12@4: trial 12, stop after epoch 4' });
    const { measured } = this.app.study;
    if (measured.some((d) => Object.values(d.errors ?? {}).some((error) => error > 0))) {
      items.push({ symbol: '╂', color: css('faint'), text: `bars: ± 1 standard error${measured.length > MANY ? ', of the front alone' : ''}` });
    }
    return items;
  }

  drawLegend(view) {
    $('legend').replaceChildren(...this.legend(view).map(({ symbol, color, text }) => {
      const mark = element('span', { textContent: symbol });
      mark.style.color = color;
      mark.setAttribute('aria-hidden', true);
      return element('span', {}, mark, ` ${text}`);
    }));
  }

  // Draw again the marks of single designs.
  mark(key) {
    if (!this.app.study.measured.length) return;
    if (this.view() === '3d') this.scene.mark(key);
    else this.pairs.mark(key);
    if (key === 'pick') this.drawLegend(this.view());
  }
}
