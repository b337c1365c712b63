// The state as the address keeps it, and small things that every view needs.
const $ = (id) => document.getElementById(id);

function readState(app) {
  const [x, y, z] = [...app.study.objectives, ...app.columns.map((c) => c.name).filter((n) => !app.study.objectives.includes(n))];
  app.defaults = { x, y, z: app.study.objectives.length > 2 ? z : '', prefer: '', filter: '', theme: '' };
  const state = { ...app.defaults, limits: {}, brush: {}, cols: {}, sel: [], sort: ['', ''] };
  for (const [key, value] of new URLSearchParams(location.hash.slice(1))) {
    const [kind, ...rest] = key.split('.');
    const name = rest.join('.');
    if ('xyz'.includes(key) && key.length === 1) { if (app.column(value) || (key === 'z' && !value)) state[key] = value; }
    else if (key === 'prefer') { if (value === 'knee' || app.study.objectives.includes(value)) state.prefer = value; }
    else if (key === 'filter' || key === 'theme') state[key] = value;
    else if (key === 'sel') state.sel = [...new Set(value.split(',').map(Number).filter(Number.isInteger))];
    else if (key === 'sort') { const cut = value.lastIndexOf('.'); state.sort = [value.slice(0, cut), value.slice(cut + 1) === 'down' ? 'down' : 'up']; }
    else if (kind === 'limit') { if (app.column(name) && parseQuantity(name, value) !== null) state.limits[name] = value; }
    else if (kind === 'range') { const range = value.split('..').map(Number); if (range.length === 2 && range.every(Number.isFinite)) state.brush[name] = range; }
    else if (kind === 'col') state.cols[name] = value === '1';
  }
  return state;
}

const timers = {};

// Do something after a while, once for all that ask for it meanwhile.
function later(key, milliseconds, act) {
  clearTimeout(timers[key]);
  timers[key] = setTimeout(act, milliseconds);
}

// A plot that is drawn anew under a pressed pointer loses the click or the turn: it waits until the pointer is let go.
const waiting = new Map();
let pressed = null;
addEventListener('pointerdown', (event) => { pressed = event.target.closest('.js-plotly-plot'); }, true);
for (const kind of ['pointerup', 'pointercancel']) {
  addEventListener(kind, () => setTimeout(() => {
    pressed = null;
    const acts = [...waiting.values()];
    waiting.clear();
    acts.forEach((act) => act());
  }), true);
}

function whenFree(node, key, act) {
  if (pressed === node) waiting.set(key, act);
  else act();
}

const isDark = (theme = document.documentElement.dataset.theme) => (theme ? theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches);
const fileName = (name) => name.replace(/[^\w.-]+/g, '-') || 'study';
const shellQuoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\"'\"'")}'`);

function status(text, kind) {
  const node = $('status');
  if (node.textContent !== text) node.textContent = text;
  node.className = kind;
}

async function unzipped(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).text();
}

function blobOf(url) {
  const [head, body] = [url.slice(5, url.indexOf(',')), url.slice(url.indexOf(',') + 1)];
  const bytes = head.endsWith(';base64') ? Uint8Array.from(atob(body), (c) => c.charCodeAt(0)) : decodeURIComponent(body);
  return new Blob([bytes], { type: head.split(';')[0] });
}

function rastered(text, width, height) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => {
      const canvas = Object.assign(document.createElement('canvas'), { width: 2 * width, height: 2 * height });
      canvas.getContext('2d').drawImage(image, 0, 0, 2 * width, 2 * height);
      canvas.toBlob(resolve, 'image/png');
    };
    image.onerror = reject;
    image.src = `data:image/svg+xml;base64,${btoa(Array.from(new TextEncoder().encode(text), (b) => String.fromCharCode(b)).join(''))}`;
  });
}

function save(name, blob) {
  const link = Object.assign(document.createElement('a'), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
