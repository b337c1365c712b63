// The table: all that the plots show, for reading, sorting, filtering and choosing by keyboard.
const PAGE_ROWS = 100;

class Table {
  constructor(app) {
    this.app = app;
    this.node = $('table');
    this.hovered = null; // the trial whose row is marked
    $('more').addEventListener('click', () => app.update({ rows: app.state.rows + 5 * PAGE_ROWS }));
    const body = this.node.tBodies[0];
    for (const kind of ['pointerover', 'focusin']) {
      body.addEventListener(kind, (event) => app.update({ hover: this.trialOf(event) }));
    }
    for (const kind of ['pointerleave', 'focusout']) body.addEventListener(kind, () => app.update({ hover: null }));
    body.addEventListener('click', (event) => app.toggle(this.trialOf(event)));
  }

  trialOf(event) {
    const row = event.target.closest('tr');
    return row?.dataset.trial ? Number(row.dataset.trial) : null;
  }

  // Each column: its key in the address, its title, a design's value (for sorting) and its text.
  columns() {
    const { study } = this.app;
    const column = (key, title, of, text = (d) => String(of(d) ?? '-')) => ({ key, title, of, text });
    const testText = (d) => (d.test_acc === undefined ? '-' : formatValue('acc', d.test_acc));
    const probabilityText = (d) => (d.probability === undefined ? '-' : d.probability.toFixed(2) + (d.tied ? ' tied' : ''));
    return [
      column('trial', 'trial', (d) => d.trial),
      { ...column('design', 'design', (d) => d.label), isText: true, wrap: true },
      { ...column('state', 'state', (d) => d.state, stateText), isText: true, wrap: true },
      ...study.dimensions.map((name) => ({
        ...column(`design.${name}`, name.replaceAll('_', ' '), (d) => d.design[name]), isText: true, hidden: true,
      })),
      ...study.columns.map((c) => ({
        ...column(c.name, c.title, (d) => d.values?.[c.name], (d) => (d.values ? valueText(d, c.name) : '-')),
        hidden: !study.names.includes(c.name),
      })),
      column('test_acc', 'test accuracy', (d) => d.test_acc, testText),
      column('seeds', 'seeds', (d) => d.seeds),
      {
        ...column('probability', 'P(on the front)', (d) => d.probability, probabilityText),
        hidden: !study.designs.some((d) => d.probability !== undefined),
      },
    ];
  }

  visibleColumns() {
    const { columns } = this.app.state;
    return this.columns().filter((c) => columns[c.key] ?? !c.hidden);
  }

  // The designs within the filter and the ranges, sorted.
  rows() {
    const [key, direction] = this.app.state.sort;
    const column = this.columns().find((c) => c.key === key);
    const rows = this.app.study.designs.filter((d) => this.app.admits(d));
    if (!column) return rows.sort((a, b) => Number(b.on_front) - Number(a.on_front) || a.trial - b.trial);
    return rows.sort((a, b) => {
      const [x, y] = [column.of(a), column.of(b)];
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
      return (x < y ? -1 : x > y ? 1 : a.trial - b.trial) * (direction === 'up' ? 1 : -1);
    });
  }

  draw() {
    const { selected, rows: limit } = this.app.state;
    const total = this.app.study.designs.length;
    const columns = this.visibleColumns();
    const focused = document.activeElement?.closest('#table') ? document.activeElement.dataset.focus : null;
    this.drawHead(columns);
    const rows = this.rows();
    this.node.tBodies[0].replaceChildren(...rows.slice(0, limit).map((d) => this.row(d, columns)));
    $('more').hidden = rows.length <= limit;
    $('count').textContent = counted(rows.length, 'design') + (rows.length < total ? ` of ${total}` : '')
      + (selected.length ? `, ${selected.length} selected` : '');
    $('clear').disabled = !selected.length;
    if (focused) this.node.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
    this.mark();
  }

  drawHead(columns) {
    const [key, direction] = this.app.state.sort;
    const heads = columns.map((c) => {
      const arrow = c.key === key ? { up: ' ▲', down: ' ▼' }[direction] : '';
      const button = element('button', { type: 'button', textContent: c.title + arrow });
      button.dataset.focus = `sort ${c.key}`;
      button.addEventListener('click', () => this.sortBy(c.key));
      const cell = element('th', { scope: 'col', className: c.isText ? 'text' : '' }, button);
      if (arrow) cell.setAttribute('aria-sort', direction === 'up' ? 'ascending' : 'descending');
      return cell;
    });
    const first = element('th', { scope: 'col', textContent: 'select', className: 'text' });
    this.node.tHead.replaceChildren(element('tr', {}, first, ...heads));
  }

  // Upward first, then downward, then not at all.
  sortBy(key) {
    const [earlier, direction] = this.app.state.sort;
    if (earlier !== key) this.app.update({ sort: [key, 'up'] });
    else this.app.update({ sort: direction === 'up' ? [key, 'down'] : ['', ''] });
  }

  row(d, columns) {
    const box = element('input', { type: 'checkbox' });
    box.setAttribute('aria-label', `select trial ${d.trial}`);
    box.dataset.focus = `trial ${d.trial}`;
    const cells = columns.map((c) => {
      const className = [c.isText ? 'text' : '', c.wrap ? 'wrap' : ''].filter(Boolean).join(' ');
      return element('td', { textContent: c.text(d), className });
    });
    const row = element('tr', {}, element('td', { className: 'text' }, box), ...cells);
    row.dataset.trial = d.trial;
    return row;
  }

  // The classes of the rows, and their boxes.
  mark() {
    const { study, state, answer } = this.app;
    const selected = new Set(state.selected);
    for (const row of this.node.tBodies[0].rows) {
      const design = study.byTrial.get(Number(row.dataset.trial));
      const isSelected = selected.has(design.trial);
      const names = [
        design.state === 'done' ? '' : design.state,
        design.on_front ? 'front' : '',
        isSelected ? 'chosen' : '',
        design === answer.design ? 'pick' : '',
      ];
      row.className = names.filter(Boolean).join(' ');
      row.querySelector('input').checked = isSelected;
    }
    this.hovered = null;
    this.markHovered();
  }

  // Cheap enough for every move of the pointer.
  markHovered() {
    const { hover } = this.app.state;
    for (const [trial, isHovered] of [[this.hovered, false], [hover, true]]) {
      if (trial !== null) this.node.querySelector(`tr[data-trial="${trial}"]`)?.classList.toggle('hover', isHovered);
    }
    this.hovered = hover;
  }

  // The menu of columns. Its boxes stay where they are, with the focus, unless the columns themselves are others.
  drawMenu() {
    const menu = document.querySelector('#columns > div');
    const columns = this.columns();
    const keys = columns.map((c) => c.key).join();
    if (menu.dataset.keys !== keys) menu.replaceChildren(...columns.map((c) => this.menuItem(c)));
    menu.dataset.keys = keys;
    const visible = new Set(this.visibleColumns().map((c) => c.key));
    menu.querySelectorAll('input').forEach((box, k) => { box.checked = visible.has(columns[k].key); });
  }

  menuItem(c) {
    const box = element('input', { type: 'checkbox' });
    box.addEventListener('change', () => this.app.update({ columns: withKey(this.app.state.columns, c.key, box.checked) }));
    return element('label', {}, box, ` ${c.title}`);
  }

  // The selected designs as CSV; without a selection, all rows.
  csv() {
    const { study, state } = this.app;
    const chosen = state.selected.map((trial) => study.byTrial.get(trial)).filter(Boolean);
    const names = study.columns.map((c) => c.name);
    const heads = ['trial', 'design', 'state', 'on_front', ...study.allDimensions, ...names, 'test_acc', 'seeds', 'p_on_front'];
    const lines = (state.selected.length ? chosen : this.rows()).map((d) => [
      d.trial, d.label, d.state, Number(d.on_front), ...study.allDimensions.map((name) => d.design[name]),
      ...names.map((name) => d.values?.[name]), d.test_acc, d.seeds, d.probability,
    ].map(quoted).join());
    return `${[heads.join(), ...lines].join('\n')}\n`;
  }
}

function stateText(design) {
  if (design.reason && design.state !== 'done') return `${design.state}: ${design.reason}`;
  return design.pruned_after ? `pruned after ${counted(design.pruned_after, 'epoch')}` : design.state;
}

// A field of a CSV file that no spreadsheet takes for a formula.
function quoted(value) {
  const text = String(value ?? '');
  const safe = /^[=+@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
}
