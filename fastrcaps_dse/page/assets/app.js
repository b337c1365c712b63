// The page: one state, of which every view shows its part, and which the address keeps.
const SCENE_MILLISECONDS = 40;

class App {
  constructor() {
    this.curves = new Map();
    this.byTrial = new Map();
    this.hover = null;
    this.revision = 0;
    this.wrong = {};
  }

  async start() {
    const inside = $('data');
    this.token = new URLSearchParams(location.search).get('token');
    let content;
    if (inside) {
      const [data, curves] = JSON.parse(await unzipped(inside.textContent));
      content = data;
      for (const [trial, runs] of Object.entries(curves)) this.curves.set(Number(trial), runs);
    } else {
      content = await this.get('data?since=0');
    }
    this.live = !inside;
    this.take(content);
    this.names = content.study.objectives;
    this.state = readState(this);
    this.scatter = new Scatter(this);
    this.parallel = new Parallel(this);
    this.lines = new Lines(this);
    this.table = new Table(this);
    this.controls = new Controls(this);
    this.refresh();
    window.addEventListener('hashchange', () => { this.state = readState(this); this.controls.setTheme(); this.controls.fillAxes(); this.controls.fillLimits(); this.refresh(); });
    if (this.live) follow(this);
    else status('a file', '');
  }

  async get(path) {
    const answer = await fetch(path + (this.token ? `${path.includes('?') ? '&' : '?'}token=${encodeURIComponent(this.token)}` : ''));
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  }

  // Take in the study, or what changed of it.
  take(content) {
    this.study = content.study;
    this.columns = content.columns;
    this.hypervolume = content.hypervolume;
    this.revision = content.revision || 0;
    this.server = content.server;
    for (const design of content.designs) this.byTrial.set(design.t, design);
    this.designs = [...this.byTrial.values()].sort((a, b) => a.t - b.t);
    this.done = this.designs.filter((d) => d.v);
    this.objectives = this.study.objectives.map((name) => this.column(name));
    this.allDimensions = this.designs.length ? Object.keys(this.designs[0].d) : [];
    this.dimensions = this.allDimensions.filter((name) => new Set(this.designs.map((d) => d.d[name])).size > 1);
    $('name').textContent = this.study.name;
    $('summary').textContent = this.study.summary;
    $('notes').replaceChildren(...this.study.notes.map((text) => Object.assign(document.createElement('p'), { textContent: text })));
  }

  column(name) {
    return this.columns.find((c) => c.name === name);
  }

  // The designs of which curves are drawn: the chosen ones; else the picked one and the front.
  compared() {
    if (this.state.sel.length) return this.state.sel.slice(0, 24);
    const front = this.done.filter((d) => d.f).map((d) => d.t);
    return [...new Set([...(this.picked ? [this.picked.t] : []), ...front])].slice(0, 5);
  }

  async loadCurves() {
    const missing = this.compared().filter((t) => !this.curves.has(t));
    if (this.live && missing.length) {
      try {
        const found = await this.get(`curves?trials=${missing.join()}`);
        for (const t of missing) this.curves.set(t, found[t] || []);
      } catch { return; }
    }
    this.lines.drawCurves();
  }

  // --- what changes the state -----------------------------------------------------------------------------------------

  isShown(design) {
    const words = this.state.filter.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length) {
      const text = `${design.t} ${design.l} ${design.s} ${Object.values(design.d).join(' ')}`.toLowerCase();
      if (!words.every((word) => text.includes(word))) return false;
    }
    if (!Object.keys(this.state.brush).length) return true;
    return Boolean(design.v) && this.parallel.admits(design);
  }

  // Draw all: pick, table and parallel view at once, the plots after that.
  refresh() {
    this.pick();
    this.parallel.draw(); // it knows the ranges that the others keep to
    this.table.draw();
    this.table.drawMenu();
    this.write();
    window.ready ||= performance.now();
    later('plots', 0, async () => {
      this.scatter.draw();
      await new Promise((done) => setTimeout(done, 0)); // the pointer and the keys come first
      this.lines.drawHypervolume();
      await this.loadCurves();
      window.complete ||= performance.now();
    });
  }

  setHover(trial) {
    if (trial === this.hover) return;
    const before = this.hover;
    this.hover = trial;
    this.table.hover(before, trial);
    this.parallel.mark();
    this.markScatter('hover');
  }

  // A scene in 3D takes its time to draw: it follows where the other views are already, once for many moves.
  markScatter(key) {
    later(`scatter ${key}`, SCENE_MILLISECONDS, () => this.scatter.mark(key));
  }

  drawScatter() {
    later('scatter', SCENE_MILLISECONDS, () => this.scatter.draw());
  }

  toggle(trial) {
    if (trial === undefined || trial === null) return;
    const { sel } = this.state;
    this.state.sel = sel.includes(trial) ? sel.filter((t) => t !== trial) : [...sel, trial];
    this.selected();
  }

  selected() {
    this.table.draw();
    this.parallel.mark();
    this.markScatter('selected');
    this.loadCurves();
    this.write();
  }

  setBrush(key, range, final) {
    if (range) this.state.brush[key] = range;
    else delete this.state.brush[key];
    this.parallel.draw();
    this.table.draw();
    this.drawScatter();
    if (final) this.write();
  }

  setSort(key) {
    const [old, direction] = this.state.sort;
    if (old !== key) this.state.sort = [key, 'up'];
    else this.state.sort = direction === 'up' ? [key, 'down'] : ['', ''];
    this.table.draw();
    this.write();
  }

  setColumn(key, on) {
    this.state.cols[key] = on;
    this.table.draw();
    this.write();
  }

  setLimit(name, text) {
    const value = parseQuantity(name, text);
    if (!text.trim()) delete this.state.limits[name];
    else if (value !== null) this.state.limits[name] = text.trim();
    this.wrong[name] = text.trim() && value === null ? `write it as ${EXAMPLES[kindOf(name)]}` : '';
    this.picking();
  }

  picking() {
    this.pick();
    this.controls.fillLimits();
    this.table.mark();
    this.parallel.mark();
    this.markScatter('pick');
    if (!this.state.sel.length) this.loadCurves();
    this.write();
  }

  // --- the pick -------------------------------------------------------------------------------------------------------

  boundOf(name) {
    return this.column(name).better === 'more' ? 'min' : 'max';
  }

  // Names of the limited objectives, in the order in which the command line takes them.
  limited() {
    const first = ['params', 'time', 'acc'];
    return [...first, ...this.columns.map((c) => c.name).filter((n) => !first.includes(n))].filter((n) => n in this.state.limits);
  }

  limits() {
    return this.limited().map((name) => this.column(name))
      .map((c) => ({ objective: c.name, bound: this.boundOf(c.name), value: parseQuantity(c.name, this.state.limits[c.name]) }))
      .filter((limit) => limit.value !== null);
  }

  pick() {
    const result = pickOf(this.done, this.objectives, this.limits(), this.state.prefer);
    this.picked = result.design;
    const card = $('picked');
    card.className = result.design ? '' : 'none';
    const nodes = [];
    const put = (tag, text) => { const node = Object.assign(document.createElement(tag), { textContent: text }); nodes.push(node); return node; };
    const shown = result.design || result.nearest;
    put('h3', result.design ? `${result.design.l} (trial ${result.design.t})` : this.done.length ? 'Nothing fits these limits' : 'No design is measured yet');
    if (!result.design && shown) put('p', `nearest miss: ${shown.l} (trial ${shown.t})`);
    if (shown) {
      const list = put('dl', '');
      for (const c of this.objectives) {
        list.append(Object.assign(document.createElement('dt'), { textContent: c.title }));
        list.append(Object.assign(document.createElement('dd'), { textContent: formatValue(c.name, shown.v[c.name]) + (shown.e && shown.e[c.name] ? ` ± ${significant(shown.e[c.name], 2)}` : '') }));
      }
      if (shown.ta !== undefined) list.append(Object.assign(document.createElement('dt'), { textContent: 'test accuracy' }), Object.assign(document.createElement('dd'), { textContent: formatValue('acc', shown.ta) }));
    }
    const list = put('ul', '');
    list.append(...result.why.map((line) => Object.assign(document.createElement('li'), { textContent: line })));
    if (result.design && result.design.w) put('p', `weights: ${result.design.w}`).className = 'hint';
    card.replaceChildren(...nodes);
    $('command').textContent = this.commandLine();
  }

  commandLine() {
    const parts = [this.study.command];
    for (const name of this.limited()) {
      const text = this.state.limits[name];
      const bound = this.boundOf(name);
      const short = { 'params max': '--max-params', 'time max': '--max-time', 'acc min': '--min-acc' }[`${name} ${bound}`];
      parts.push(short ? `${short} ${shellQuoted(text)}` : `--limit ${shellQuoted(`${name}${bound === 'max' ? '<=' : '>='}${text}`)}`);
    }
    if (this.state.prefer) parts.push(`--prefer ${shellQuoted(this.state.prefer)}`);
    return parts.join(' ');
  }

  // --- the address keeps the state ------------------------------------------------------------------------------------

  write() {
    const { state } = this;
    const parts = new URLSearchParams();
    for (const key of ['x', 'y', 'z', 'prefer', 'filter', 'theme']) if (state[key] !== this.defaults[key]) parts.set(key, state[key]);
    for (const [name, text] of Object.entries(state.limits)) parts.set(`limit.${name}`, text);
    for (const [name, range] of Object.entries(state.brush)) parts.set(`range.${name}`, range.map((v) => Number(v.toPrecision(6))).join('..'));
    for (const [name, on] of Object.entries(state.cols)) parts.set(`col.${name}`, on ? 1 : 0);
    if (state.sel.length) parts.set('sel', state.sel.join());
    if (state.sort[0]) parts.set('sort', state.sort.join('.'));
    const hash = parts.toString();
    if (hash !== location.hash.slice(1)) history.replaceState(null, '', `${location.pathname}${location.search}${hash ? `#${hash}` : ''}`);
  }
}

const app = new App();
window.fastrcaps = app;
app.start().catch((error) => {
  $('name').textContent = 'The page cannot be shown';
  $('summary').textContent = error.message;
  throw error;
});
