// The part of the state that the address keeps, so that a link shows the same page.
function defaultsOf(study) {
  const others = study.columns.map((c) => c.name).filter((n) => !study.names.includes(n));
  const [y, x, z = ''] = [...study.names, ...others];
  return { view: 'pairs', x, y, z, error: '', camera: '', prefer: '', filter: '', theme: '' };
}

// The state that the address asks for. What makes no sense in this study is left at its default.
function readAddress(study) {
  const parts = new URLSearchParams(location.hash.slice(1));
  const defaults = defaultsOf(study);
  const state = { ...defaults, limits: {}, ranges: {}, columns: {}, selected: [], sort: ['', ''] };
  for (const [key, value] of parts) {
    const [kind, ...rest] = key.split('.');
    const name = rest.join('.');
    if (['x', 'y', 'z'].includes(key)) {
      if (study.column(value) || (key === 'z' && !value)) state[key] = value;
    } else if (key === 'view') {
      if (['pairs', 'one', '3d'].includes(value)) state.view = value;
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
    } else if (kind === 'limit') {
      if (study.column(name) && parseQuantity(name, value) !== null) state.limits[name] = value;
    } else if (kind === 'range') {
      const range = value.split('..').map(Number);
      if (range.length === 2 && range.every(Number.isFinite)) state.ranges[name] = range;
    } else if (kind === 'col') {
      state.columns[name] = value === '1';
    }
  }
  const hasAxes = ['x', 'y', 'z'].some((key) => parts.has(key)); // which all pairs do not have
  if (hasAxes && !parts.has('view')) state.view = parts.get('z') ? '3d' : 'one';
  if (state.view === '3d') state.z ||= defaults.z;
  return state;
}

function writeAddress(study, state) {
  const parts = new URLSearchParams();
  for (const [key, value] of Object.entries(defaultsOf(study))) if (state[key] !== value) parts.set(key, state[key]);
  for (const [name, text] of Object.entries(state.limits)) parts.set(`limit.${name}`, text);
  for (const [name, range] of Object.entries(state.ranges)) {
    parts.set(`range.${name}`, range.map((v) => Number(v.toPrecision(6))).join('..'));
  }
  for (const [name, on] of Object.entries(state.columns)) parts.set(`col.${name}`, on ? 1 : 0);
  if (state.selected.length) parts.set('sel', state.selected.join());
  if (state.sort[0]) parts.set('sort', state.sort.join('.'));
  const hash = parts.toString();
  if (hash !== location.hash.slice(1)) {
    history.replaceState(null, '', `${location.pathname}${location.search}${hash ? `#${hash}` : ''}`);
  }
}
