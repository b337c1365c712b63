// The page: one state, of which every view shows its part and which the address keeps.
const SCENE_MILLISECONDS = 40; // a scene in 3D takes its time: it is drawn once for many moves of the pointer
const MAX_COMPARED = 24; // designs whose curves are drawn
const COMPARED_BY_DEFAULT = 5; // the same, if none is selected

// The views to draw anew when a part of the state changes. The last two parts are derived from the others.
const REDRAWN = {
  study: ['header', 'workers', 'axes', 'preference', 'limits', 'pick', 'parallel', 'table', 'menu', 'plots', 'panels'],
  epochs: ['header', 'axes', 'preference', 'limits', 'pick', 'parallel', 'table', 'menu', 'plots', 'panels'],
  theme: ['theme', 'parallel', 'plots'],
  view: ['axes', 'scatter'],
  error: ['scatter', 'curves'],
  camera: [],
  x: ['axes', 'scatter'],
  y: ['axes', 'scatter'],
  z: ['axes', 'scatter'],
  filter: ['filter', 'parallel', 'table', 'scatter', 'panels'],
  only: ['parallel', 'table', 'scatter', 'panels'],
  without: ['parallel', 'table', 'scatter', 'panels'],
  ranges: ['parallel', 'table', 'scatter', 'panels'],
  dragging: [],
  limits: ['limits', 'pick'],
  invalid: ['limits', 'pick'],
  prefer: ['preference', 'pick'],
  sort: ['table'],
  columns: ['table', 'menu'],
  rows: ['table'],
  hover: ['hovered row', 'parallel marks', 'hovered point'],
  selected: ['table', 'keeping', 'parallel marks', 'selected points', 'panels'],
  picked: ['table marks', 'parallel marks', 'picked point'],
  compared: ['curves'],
};

// How each view is drawn, in the order of drawing. `within` names views that draw it too; `soon`: it may wait a moment.
// The parallel view has the axes of the ranges, so it comes before the other views of designs.
const VIEWS = {
  header: { draw: (app) => app.views.controls.showHeader() },
  workers: { draw: (app) => showWorkers(app) },
  theme: { draw: (app) => app.views.controls.showTheme() },
  axes: { draw: (app) => app.views.controls.showAxes() },
  preference: { draw: (app) => app.views.controls.showPreference() },
  filter: { draw: (app) => app.views.controls.showFilter() },
  limits: { draw: (app) => app.views.controls.showLimits() },
  pick: { draw: (app) => app.views.pick.draw() },
  parallel: { draw: (app) => app.views.parallel.draw() },
  keeping: { draw: (app) => app.views.parallel.keeping.draw(), within: ['parallel'] },
  'parallel marks': { draw: (app) => app.views.parallel.mark(), within: ['parallel'] },
  table: { draw: (app) => app.views.table.draw() },
  'table marks': { draw: (app) => app.views.table.mark(), within: ['table'] },
  'hovered row': { draw: (app) => app.views.table.markHovered(), within: ['table', 'table marks'] },
  menu: { draw: (app) => app.views.table.drawMenu() },
  plots: { draw: (app) => app.scheduler.later('plots', 0, () => app.drawPlots()) },
  scatter: { draw: (app) => app.views.scatter.draw(), within: ['plots'], soon: true },
  'hovered point': { draw: (app) => app.views.scatter.mark('hover'), within: ['plots', 'scatter'], soon: true },
  'selected points': { draw: (app) => app.views.scatter.mark('selected'), within: ['plots', 'scatter'], soon: true },
  'picked point': { draw: (app) => app.views.scatter.mark('pick'), within: ['plots', 'scatter'], soon: true },
  curves: { draw: (app) => app.drawCurves(), within: ['plots'] },
  panels: { draw: (app) => app.drawPanels(), soon: true },
};

// What follows from the state: the answer to the pick, and the trials whose curves are drawn. A pick takes time, so the earlier
// answer is kept while what it depends on stays.
function derivedFrom(state, earlier) {
  const { limits, prefer, selected } = state;
  const study = studyInView(state);
  const question = [study, limits, prefer];
  const isSame = question.every((part, k) => part === earlier?.question[k]);
  const answer = isSame ? earlier.answer : pickOf(study.measured, study.objectives, limitsOf(study, limits), prefer);
  const picked = answer.design ? [answer.design.trial] : [];
  const front = study.measured.filter((d) => d.on_front).map((d) => d.trial); // in the anytime view, some more than once
  const byDefault = [...new Set([...picked, ...front])].slice(0, COMPARED_BY_DEFAULT);
  return { study, question, answer, compared: selected.length ? selected.slice(0, MAX_COMPARED) : byDefault };
}

// The state without axes and limits that a view of the study does not have.
function fittedTo(study, state) {
  const has = (name) => Boolean(study.column(name));
  const defaults = defaultsOf(study);
  const axes = AXES.filter((axis) => state[axis] && !has(state[axis])).map((axis) => [axis, defaults[axis]]);
  const kept = (object) => (Object.keys(object).every(has) ? object : Object.fromEntries(Object.entries(object).filter(([name]) => has(name))));
  return { ...state, ...Object.fromEntries(axes), limits: kept(state.limits), invalid: kept(state.invalid) };
}

class App {
  constructor() {
    this.source = $('data') ? new FileSource($('data')) : new ServerSource();
    this.curves = new Map(); // by trial, of those that have been drawn
    this.scheduler = new Scheduler();
  }

  // The study in the view of the moment.
  get study() {
    return this.derived.study;
  }

  get answer() {
    return this.derived.answer;
  }

  async start() {
    const study = new Study(await this.source.content());
    this.state = Object.freeze({
      ...readAddress(study),
      study,
      hover: null, // the key of a design
      rows: PAGE_ROWS, // that the table shows at most
      dragging: false, // whether a range is being dragged; the address waits for the end
    });
    this.derived = derivedFrom(this.state);
    this.views = {
      scatter: new Scatter(this),
      parallel: new Parallel(this),
      lines: new Lines(this),
      table: new Table(this),
      pick: new PickCard(this),
      controls: new Controls(this),
      notes: new Notes(this),
      compare: new Compare(this),
    };
    this.panels = [new Importance(this), this.views.compare, new Timeline(this), new Slices(this), new Distributions(this)];
    this.redraw(Object.keys(REDRAWN));
    window.ready = performance.now();
    window.addEventListener('hashchange', () => this.update(readAddress(this.state.study)));
    this.source.follow(this);
    this.studies = new Studies(this);
  }

  // Change the state, and draw the views of what changed. `patch` holds new values by key. They are compared by identity, so
  // that a value changed in place goes unnoticed.
  update(patch) {
    const changed = Object.keys(patch).filter((key) => patch[key] !== this.state[key]);
    if (!changed.length) return;
    const earlier = this.derived;
    const state = { ...this.state, ...patch };
    this.state = Object.freeze(patch.study || 'epochs' in patch ? fittedTo(studyInView(state), state) : state);
    this.derived = derivedFrom(this.state, earlier);
    if (this.answer.design !== earlier.answer.design) changed.push('picked');
    if (this.derived.compared.join() !== earlier.compared.join()) changed.push('compared');
    this.redraw(changed);
    if (wantsEveryEpoch(this.state) && !this.state.study.anytime) this.source.askForEpochs(this.state.study);
  }

  redraw(changed) {
    const names = new Set(changed.flatMap((key) => REDRAWN[key]));
    for (const [name, { draw, within = [], soon = false }] of Object.entries(VIEWS)) {
      if (!names.has(name) || within.some((other) => names.has(other))) continue;
      if (soon) this.scheduler.later(name, SCENE_MILLISECONDS, () => draw(this));
      else draw(this);
    }
    if (!this.state.dragging) writeAddress(this.state.study, this.state);
  }

  async drawPlots() {
    await this.views.scatter.draw();
    await new Promise((done) => setTimeout(done, 0)); // the pointer and the keys come first
    this.views.lines.drawHypervolume();
    await this.drawCurves();
    window.complete ||= performance.now();
  }

  // The panels that are unfolded.
  drawPanels() {
    for (const panel of this.panels) panel.draw();
  }

  async drawCurves() {
    const missing = this.derived.compared.filter((trial) => !this.curves.has(trial));
    if (missing.length) {
      try {
        const found = await this.source.curves(missing);
        for (const trial of missing) this.curves.set(trial, found[trial]);
      } catch {
        return; // the server does not answer, as the status says
      }
    }
    this.views.lines.drawCurves();
  }

  // Whether a design is within the filter and the ranges.
  admits(design) {
    if (!isKept(design, this.state)) return false;
    const { filter, ranges } = this.state;
    const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length) {
      const { trial, label, state, starred, note } = design;
      const text = [trial, label, state, starred ? 'starred' : '', note ?? '', ...Object.values(design.design)].join(' ').toLowerCase();
      if (!words.every((word) => text.includes(word))) return false;
    }
    return !Object.keys(ranges).length || Boolean(design.values && this.views.parallel.admits(design));
  }

  // Select a design, or deselect it. The table scrolls to one that is selected elsewhere.
  toggle(trial, isFromTable = false, key = this.study.keyAt(trial)) {
    if (trial === undefined || trial === null) return;
    const { selected } = this.state;
    const isSelected = selected.includes(trial);
    this.update({ selected: isSelected ? selected.filter((t) => t !== trial) : [...selected, trial] });
    if (!isSelected && !isFromTable) this.views.table.reveal(key);
  }

  // Set the limit of an objective to a text, or lift it. A text that is no limit is told, and no limit is in force then.
  setLimit(name, text) {
    const { limits, invalid } = this.state;
    const given = text.trim();
    const { quantity, wrong } = readLimit(this.study.column(name), given);
    this.update({
      limits: withKey(limits, name, quantity || undefined),
      invalid: withKey(invalid, name, wrong && { text: given, wrong }),
    });
  }
}

const app = new App();
window.fastrcaps = app;
app.start().catch((error) => {
  $('name').textContent = 'The page cannot be shown';
  $('summary').textContent = error.message;
  throw error;
});
