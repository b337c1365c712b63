// The table: all that the plots show, for reading, sorting, filtering and choosing by keyboard.
const PAGE_ROWS = 100;

class Table {
  constructor(app) {
    this.app = app;
    this.node = document.getElementById('table');
    this.limit = PAGE_ROWS;
    document.getElementById('more').addEventListener('click', () => { this.limit += 5 * PAGE_ROWS; this.draw(); });
    const body = this.node.tBodies[0];
    body.addEventListener('pointerover', (event) => app.setHover(this.trialOf(event)));
    body.addEventListener('pointerleave', () => app.setHover(null));
    body.addEventListener('focusin', (event) => app.setHover(this.trialOf(event)));
    body.addEventListener('focusout', () => app.setHover(null));
    body.addEventListener('click', (event) => {
      const trial = this.trialOf(event);
      if (trial !== null) app.toggle(trial);
    });
  }

  trialOf(event) {
    const row = event.target.closest('tr');
    return row && row.dataset.trial ? Number(row.dataset.trial) : null;
  }

  columns() {
    const { app } = this;
    const plain = (key, title, of, text = true) => ({ key, title, of, show: (d) => { const v = of(d); return v === undefined || v === null ? '-' : String(v); }, text });
    return [
      plain('trial', 'trial', (d) => d.t, false),
      { ...plain('design', 'design', (d) => d.l), wrap: true },
      { ...plain('state', 'state', (d) => d.s), wrap: true, show: (d) => (d.r && d.s !== 'done' ? `${d.s}: ${d.r}` : d.stopped ? `pruned after ${counted(d.stopped, 'epoch')}` : d.s) },
      ...app.dimensions.map((name) => ({ ...plain(`d.${name}`, name.replaceAll('_', ' '), (d) => d.d[name]), hidden: true })),
      ...app.columns.map((c) => ({
        key: c.name, title: c.title, of: (d) => (d.v ? d.v[c.name] : undefined), hidden: !app.names.includes(c.name),
        show: (d) => (d.v ? formatValue(c.name, d.v[c.name]) + (d.e && d.e[c.name] ? ` ± ${significant(d.e[c.name], 2)}` : '') : '-'),
      })),
      { key: 'ta', title: 'test accuracy', of: (d) => d.ta, show: (d) => (d.ta === undefined ? '-' : formatValue('acc', d.ta)) },
      plain('n', 'seeds', (d) => d.n, false),
      { key: 'p', title: 'P(on the front)', of: (d) => d.p, show: (d) => (d.p === undefined ? '-' : d.p.toFixed(2) + (isTied(d) ? ' tied' : '')), hidden: !app.designs.some((d) => d.p !== undefined) },
    ];
  }

  visible() {
    const { cols } = this.app.state;
    return this.columns().filter((c) => (c.key in cols ? cols[c.key] : !c.hidden));
  }

  rows() {
    const { app } = this;
    const [key, direction] = app.state.sort;
    const column = this.columns().find((c) => c.key === key);
    const rows = app.designs.filter((d) => app.isShown(d));
    if (!column) return rows.sort((a, b) => (b.f || 0) - (a.f || 0) || a.t - b.t);
    return rows.sort((a, b) => {
      const [x, y] = [column.of(a), column.of(b)];
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
      return (x < y ? -1 : x > y ? 1 : a.t - b.t) * (direction === 'up' ? 1 : -1);
    });
  }

  draw() {
    const { app } = this;
    const columns = this.visible();
    const focused = document.activeElement && document.activeElement.closest('#table') ? document.activeElement.dataset.focus : null;
    this.drawHead(columns);
    const rows = this.rows();
    this.node.tBodies[0].replaceChildren(...rows.slice(0, this.limit).map((d) => this.row(d, columns)));
    document.getElementById('more').hidden = rows.length <= this.limit;
    document.getElementById('count').textContent = `${counted(rows.length, 'design')}${rows.length < app.designs.length ? ` of ${app.designs.length}` : ''}`
      + `${app.state.sel.length ? `, ${app.state.sel.length} selected` : ''}`;
    document.getElementById('clear').disabled = !app.state.sel.length;
    if (focused) this.node.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
    this.mark();
  }

  drawHead(columns) {
    const [key, direction] = this.app.state.sort;
    const row = document.createElement('tr');
    row.append(Object.assign(document.createElement('th'), { scope: 'col', textContent: 'select', className: 'text' }));
    for (const c of columns) {
      const cell = Object.assign(document.createElement('th'), { scope: 'col', className: c.text ? 'text' : '' });
      const sorted = c.key === key;
      if (sorted) cell.setAttribute('aria-sort', direction === 'up' ? 'ascending' : 'descending');
      const button = Object.assign(document.createElement('button'), { type: 'button', textContent: c.title + (sorted ? (direction === 'up' ? ' ▲' : ' ▼') : '') });
      button.dataset.focus = `sort ${c.key}`;
      button.addEventListener('click', () => this.app.setSort(c.key));
      cell.append(button);
      row.append(cell);
    }
    this.node.tHead.replaceChildren(row);
  }

  row(d, columns) {
    const row = document.createElement('tr');
    row.dataset.trial = d.t;
    const box = Object.assign(document.createElement('input'), { type: 'checkbox', checked: this.app.state.sel.includes(d.t) });
    box.setAttribute('aria-label', `select trial ${d.t}`);
    box.dataset.focus = `trial ${d.t}`;
    const first = document.createElement('td');
    first.className = 'text';
    first.append(box);
    row.append(first, ...columns.map((c) => Object.assign(document.createElement('td'), { textContent: c.show(d), className: (c.text ? 'text' : '') + (c.wrap ? ' wrap' : '') })));
    return row;
  }

  // Classes of the rows, and their boxes: cheap enough for every move of the pointer.
  mark() {
    const { app } = this;
    const chosen = new Set(app.state.sel);
    for (const row of this.node.tBodies[0].rows) {
      const trial = Number(row.dataset.trial);
      const d = app.byTrial.get(trial);
      const names = [d.s !== 'done' ? d.s : '', d.f ? 'front' : '', chosen.has(trial) ? 'chosen' : '', trial === app.hover ? 'hover' : '', app.picked && app.picked.t === trial ? 'pick' : ''];
      row.className = names.filter(Boolean).join(' ');
      row.querySelector('input').checked = chosen.has(trial);
    }
  }

  hover(before, now) {
    for (const [trial, on] of [[before, false], [now, true]]) {
      if (trial !== null) this.node.querySelector(`tr[data-trial="${trial}"]`)?.classList.toggle('hover', on);
    }
  }

  drawMenu() {
    const menu = document.querySelector('#columns > div');
    const shown = new Set(this.visible().map((c) => c.key));
    menu.replaceChildren(...this.columns().map((c) => {
      const label = document.createElement('label');
      const box = Object.assign(document.createElement('input'), { type: 'checkbox', checked: shown.has(c.key) });
      box.addEventListener('change', () => this.app.setColumn(c.key, box.checked));
      label.append(box, ` ${c.title}`);
      return label;
    }));
  }

  csv() {
    const { app } = this;
    const chosen = app.state.sel.length ? app.state.sel.map((t) => app.byTrial.get(t)).filter(Boolean) : this.rows();
    const heads = ['trial', 'design', 'state', 'on_front', ...app.allDimensions, ...app.columns.map((c) => c.name), 'test_acc', 'seeds', 'p_on_front'];
    const quote = (v) => {
      const text = v === undefined || v === null ? '' : String(v);
      const safe = /^[=+@\t\r]/.test(text) ? `'${text}` : text; // no formula for a spreadsheet
      return /[",\n\r]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
    };
    const lines = chosen.map((d) => [d.t, d.l, d.s, d.f ? 1 : 0, ...app.allDimensions.map((n) => d.d[n]), ...app.columns.map((c) => (d.v ? d.v[c.name] : '')), d.ta, d.n, d.p].map(quote).join());
    return `${[heads.join(), ...lines].join('\n')}\n`;
  }
}
