// Small things that every view needs.
const $ = (id) => document.getElementById(id);
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const escaped = (text) => String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
const fileName = (name) => name.replace(/[^\w.-]+/g, '-') || 'study';
const shellQuoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\"'\"'")}'`);

// A new node of the page, with properties and children.
function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// A copy of an object with one key set, or without it where the value is undefined.
function withKey(object, key, value) {
  const others = Object.entries(object).filter(([name]) => name !== key || value !== undefined);
  return { ...Object.fromEntries(others), ...(value === undefined ? {} : { [key]: value }) };
}

// The theme that is asked for; without one, that of the system.
function isDark(theme) {
  return theme ? theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
}

// Puts work off: until more of the same kind has come, and, for a plot, until the pointer is let go.
class Scheduler {
  constructor() {
    this.timers = new Map();
    this.waiting = new Map();
    this.pressed = null; // the plot on which the pointer is down
    addEventListener('pointerdown', (event) => { this.pressed = event.target.closest('.scene'); }, true);
    for (const kind of ['pointerup', 'pointercancel']) addEventListener(kind, () => setTimeout(() => this.release(), 0), true);
  }

  // Act after a while. Another call with the same key takes the place of this one.
  later(key, milliseconds, act) {
    clearTimeout(this.timers.get(key));
    this.timers.set(key, setTimeout(act, milliseconds));
  }

  // Act once the pointer is up: a plot that is drawn anew under a pressed pointer loses the click or the turn.
  whenFree(plot, key, act) {
    if (this.pressed === plot) this.waiting.set(key, act);
    else act();
  }

  release() {
    this.pressed = null;
    const acts = [...this.waiting.values()];
    this.waiting.clear();
    for (const act of acts) act();
  }
}

async function unzipped(text) {
  if (!window.DecompressionStream) throw new Error('This browser is too old to unpack the page. Chrome 80, Firefox 113 and Safari 16.4 can.');
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).text();
}

function blobOf(url) {
  const [head, body] = [url.slice(5, url.indexOf(',')), url.slice(url.indexOf(',') + 1)];
  const bytes = head.endsWith(';base64') ? Uint8Array.from(atob(body), (c) => c.charCodeAt(0)) : decodeURIComponent(body);
  return new Blob([bytes], { type: head.split(';')[0] });
}

// SVG text as a PNG of twice its size.
function rastered(text, width, height) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.addEventListener('load', () => {
      const canvas = element('canvas', { width: 2 * width, height: 2 * height });
      canvas.getContext('2d').drawImage(image, 0, 0, 2 * width, 2 * height);
      canvas.toBlob(resolve, 'image/png');
    });
    image.addEventListener('error', reject);
    const bytes = Array.from(new TextEncoder().encode(text), (b) => String.fromCharCode(b)).join('');
    image.src = `data:image/svg+xml;base64,${btoa(bytes)}`;
  });
}

function save(name, blob) {
  const link = element('a', { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
