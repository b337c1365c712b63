// The part of the state that the address keeps, so that a link shows the same page.
const AXES = ['x', 'y', 'z'];

function defaultsOf(study) {
  const others = study.columns.map((c) => c.name).filter((n) => !study.names.includes(n));
  const [y, x, z = ''] = [...study.names, ...others];
  return { epochs: '', view: 'pairs', x, y, z, error: '', camera: '', prefer: '', filter: '', theme: '' };
}

// Whole numbers as the address writes them, in short: `0-4,7`.
function spansOf(numbers) {
  const spans = [];
  for (const n of numbers.toSorted((a, b) => a - b)) {
    const last = spans.at(-1);
    if (last && n <= last[1] + 1) last[1] = n;
    else spans.push([n, n]);
  }
  return spans.map(([a, b]) => (a === b ? a : `${a}-${b}`)).join();
}

const MOST_NUMBERS = 1e6; // that an address stands for: a link must not fill the memory

function numbersOf(text) {
  const numbers = [];
  for (const part of text.split(',')) {
    const [a, b = a] = part.split('-').map(Number);
    if (!Number.isInteger(a) || !Number.isInteger(b) || part === '' || b - a + numbers.length > MOST_NUMBERS) continue;
    for (let n = a; n <= b; n += 1) numbers.push(n);
  }
  return [...new Set(numbers)];
}

// The state that the address asks for. What makes no sense in this study is left at its default.
function readAddress(study) {
  const parts = new URLSearchParams(location.hash.slice(1));
  const defaults = defaultsOf(study);
  const state = {
    ...defaults, limits: {}, invalid: {}, ranges: {}, columns: {}, selected: [], sort: ['', ''], only: null, without: [],
  };
  for (const [key, value] of parts) {
    const [kind, ...rest] = key.split('.');
    const name = rest.join('.');
    if (AXES.includes(key)) {
      if (study.column(value) || (key === 'z' && !value)) state[key] = value;
    } else if (key === 'view') {
      if (['pairs', 'one', '3d'].includes(value)) state.view = value;
    } else if (key === 'epochs') {
      if (['whole', 'every'].includes(value)) state.epochs = value;
    } else if (key === 'error') {
      if (['0', '1'].includes(value)) state.error = value;
    } else if (key === 'camera') {
      if (isCamera(value)) state.camera = value;
    } else if (key === 'prefer') {
      if (value === 'knee' || study.names.includes(value)) state.prefer = value;
    } else if (key === 'filter' || key === 'theme') {
      state[key] = value;
    } else if (key === 'sel') {
      state.selected = [...new Set(value.split(',').map(Number).filter(Number.isInteger))];
    } else if (key === 'sort') {
      const cut = value.lastIndexOf('.');
      state.sort = [value.slice(0, cut), value.slice(cut + 1) === 'down' ? 'down' : 'up'];
    } else if (key === 'keep') {
      if (value) state.only = numbersOf(value);
    } else if (key === 'hide') {
      state.without = numbersOf(value);
    } else if (kind === 'limit') {
      const { quantity, wrong } = study.column(name) ? readLimit(study.column(name), value) : {};
      if (quantity) state.limits[name] = quantity;
      if (wrong) state.invalid[name] = { text: value, wrong };
    } else if (kind === 'range') {
      const range = value.split('..').map(Number);
      if (range.length === 2 && range.every(Number.isFinite)) state.ranges[name] = range;
    } else if (kind === 'col') {
      state.columns[name] = value === '1';
    }
  }
  const hasAxes = AXES.some((key) => parts.has(key)); // which all pairs do not have
  if (hasAxes && !parts.has('view')) state.view = parts.get('z') ? '3d' : 'one';
  if (state.view === '3d') state.z ||= defaults.z;
  return state;
}

function writeAddress(study, state) {
  const parts = new URLSearchParams();
  for (const [key, value] of Object.entries(defaultsOf(study))) if (state[key] !== value) parts.set(key, state[key]);
  if (AXES.some((key) => parts.has(key))) parts.set('view', state.view); // without it, axes ask for one pair or 3D
  for (const [name, text] of Object.entries(state.limits)) parts.set(`limit.${name}`, text);
  for (const [name, range] of Object.entries(state.ranges)) {
    parts.set(`range.${name}`, range.map((v) => Number(v.toPrecision(6))).join('..'));
  }
  for (const [name, on] of Object.entries(state.columns)) parts.set(`col.${name}`, on ? 1 : 0);
  if (state.only) parts.set('keep', spansOf(state.only));
  if (state.without.length) parts.set('hide', spansOf(state.without));
  if (state.selected.length) parts.set('sel', state.selected.join());
  if (state.sort[0]) parts.set('sort', state.sort.join('.'));
  const hash = parts.toString();
  if (hash !== location.hash.slice(1)) {
    history.replaceState(null, '', `${location.pathname}${location.search}${hash ? `#${hash}` : ''}`);
  }
}
