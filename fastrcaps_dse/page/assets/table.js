// The table: all that the plots show, for reading, sorting, filtering and choosing by keyboard.
const PAGE_ROWS = 100;

class Table {
  constructor(app) {
    this.app = app;
    this.node = $('table');
    this.body = this.node.tBodies[0];
    this.nodes = new Map(); // by the key of a design: its row, which stays while the design is shown
    this.heads = ''; // the columns and the order that the head shows
    this.hovered = null; // the key of the design whose row is marked
    $('more').addEventListener('click', () => app.update({ rows: app.state.rows + 5 * PAGE_ROWS }));
    for (const kind of ['pointerover', 'focusin']) {
      this.body.addEventListener(kind, (event) => app.update({ hover: this.designOf(event)?.key ?? null }));
    }
    for (const kind of ['pointerleave', 'focusout']) this.body.addEventListener(kind, () => app.update({ hover: null }));
    this.body.addEventListener('click', (event) => {
      if (!event.target.closest('a, .note')) app.toggle(this.designOf(event)?.trial, true);
    });
  }

  // The design in whose row something is.
  designOf({ target }) {
    const row = target.closest('tr');
    return row?.key === undefined ? null : this.app.study.byKey.get(row.key);
  }

  // Each column: its key in the address, its title, a design's value (for sorting) and its text.
  columns() {
    const { study } = this.app;
    const column = (key, title, of, text = (d) => String(of(d) ?? '-')) => ({ key, title, of, text });
    const testText = (d) => (d.test_acc === undefined ? '-' : formatValue('acc', d.test_acc) + errorText(d, 'test_acc'));
    const shareText = (share) => (share === undefined ? '-' : formatValue('acc', share));
    const probabilityText = (d) => (d.probability === undefined ? '-' : d.probability.toFixed(2) + (d.tied ? ' tied' : ''));
    return [
      column('trial', 'trial', (d) => d.trial),
      { ...column('design', 'design', (d) => d.name ?? d.label), isText: true, wrap: true },
      ...(study.isEveryEpoch ? [column('stop_after', 'stop after epoch', (d) => d.stop_after, epochsText)] : []),
      { ...column('state', 'state', (d) => d.state, (d) => stateText(d, study)), isText: true, wrap: true },
      {
        ...column('note', 'note', (d) => noteText(d) || undefined, noteText), isText: true, wrap: true,
        hidden: !this.app.views.notes.isWritable && !study.designs.some(noteText),
      },
      ...study.dimensions.map((name) => ({
        ...column(`design.${name}`, name.replaceAll('_', ' '), (d) => d.design[name]), isText: true, hidden: true,
      })),
      ...study.columns.map((c) => ({
        ...column(c.name, c.title, (d) => d.values?.[c.name], (d) => (d.values ? valueText(d, c.name) : '-')),
        hidden: !study.names.includes(c.name),
        isBestHigh: c.direction === 'maximize',
      })),
      { ...column('test_acc', 'test accuracy', (d) => d.test_acc, testText), isBestHigh: true },
      {
        ...column('test_robust', 'test accuracy on affine copies', (d) => d.test_robust, (d) => shareText(d.test_robust)),
        hidden: !study.designs.some((d) => d.test_robust !== undefined),
        isBestHigh: true,
      },
      column('seeds', 'seeds', (d) => d.seeds),
      {
        ...column('probability', 'P(on the front)', (d) => d.probability, probabilityText),
        hidden: !study.designs.some((d) => d.probability !== undefined),
        isBestHigh: true,
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
    const byTrial = (a, b) => a.trial - b.trial || (a.stop_after ?? 0) - (b.stop_after ?? 0);
    if (!column) return rows.sort((a, b) => Number(b.on_front) - Number(a.on_front) || byTrial(a, b));
    return rows.sort((a, b) => {
      const [x, y] = [column.of(a), column.of(b)];
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
      return (x < y ? -1 : x > y ? 1 : byTrial(a, b)) * (direction === 'up' ? 1 : -1);
    });
  }

  draw() {
    const { selected, rows: limit } = this.app.state;
    const { isEveryEpoch, designs } = this.app.study;
    const shown = (some) => (isEveryEpoch ? some.filter((d) => d.values) : some).length;
    const total = shown(designs);
    const columns = this.visibleColumns();
    this.drawHead(columns);
    const rows = this.rows();
    this.drawBody(rows.slice(0, limit), columns);
    $('more').hidden = rows.length <= limit;
    $('count').textContent = countedDesigns(shown(rows), isEveryEpoch) + (shown(rows) < total ? ` of ${isEveryEpoch ? thousands(total) : total}` : '')
      + (selected.length ? `, ${isEveryEpoch ? counted(selected.length, 'design') : selected.length} selected` : '');
    $('clear').disabled = !selected.length;
    this.mark();
  }

  // Rows are kept by key: a design that comes or changes leaves the other rows, the focus and the scroll position alone.
  drawBody(designs, columns) {
    const place = this.node.parentElement.scrollTop;
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    const shown = new Set(designs.map((d) => d.key));
    for (const [key, row] of this.nodes) {
      if (shown.has(key)) continue;
      row.remove();
      this.nodes.delete(key);
    }
    designs.forEach((d, k) => {
      const row = this.rowOf(d, columns);
      if (this.body.rows[k] !== row) this.body.insertBefore(row, this.body.rows[k] ?? null);
    });
    this.node.parentElement.scrollTop = place;
    if (focused && document.activeElement !== focused && focused.isConnected) focused.focus({ preventScroll: true });
  }

  drawHead(columns) {
    const [key, direction] = this.app.state.sort;
    const heads = JSON.stringify([columns.map((c) => [c.key, c.title]), key, direction]);
    if (heads === this.heads) return;
    this.heads = heads;
    const focused = this.node.tHead.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    const cells = columns.map((c) => {
      const arrow = c.key === key ? { up: ' ▲', down: ' ▼' }[direction] : '';
      const button = element('button', { type: 'button', textContent: c.title + arrow });
      button.dataset.focus = c.key;
      button.addEventListener('click', () => this.sortBy(c));
      const cell = element('th', { scope: 'col', className: c.isText ? 'text' : '' }, button);
      if (arrow) cell.setAttribute('aria-sort', direction === 'up' ? 'ascending' : 'descending');
      return cell;
    });
    const first = element('th', { scope: 'col', textContent: 'select', className: 'text' });
    this.node.tHead.replaceChildren(element('tr', {}, first, ...cells));
    if (focused) this.node.tHead.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  }

  // The best first, then the other way round, then not at all.
  sortBy({ key, isBestHigh }) {
    const [earlier, direction] = this.app.state.sort;
    const [first, second] = isBestHigh ? ['down', 'up'] : ['up', 'down'];
    if (earlier !== key) this.app.update({ sort: [key, first] });
    else this.app.update({ sort: direction === first ? [key, second] : ['', ''] });
  }

  // The row of a design, with its texts as they are now.
  rowOf(d, columns) {
    const keys = columns.map((c) => c.key).join();
    let row = this.nodes.get(d.key);
    if (row?.dataset.keys !== keys) {
      const fresh = this.newRow(d, columns, keys);
      row?.replaceWith(fresh);
      row = fresh;
      this.nodes.set(d.key, row);
    }
    columns.forEach((c, k) => {
      const [text, cell] = [c.text(d), row.cells[k + 1].firstChild];
      if (cell.data !== text) cell.data = text;
      if (isTimed(c.key)) cell.nextSibling.textContent = estimatedWords(d, c.key);
    });
    return row;
  }

  newRow(d, columns, keys) {
    const box = element('input', { type: 'checkbox' });
    box.setAttribute('aria-label', `select trial ${d.trial}${d.stop_after === undefined ? '' : `, here after epoch ${d.stop_after}`}`);
    const cells = columns.map((c) => {
      const className = [c.isText ? 'text' : '', c.wrap ? 'wrap' : ''].filter(Boolean).join(' ');
      const cell = element('td', { className }, document.createTextNode(''));
      if (isTimed(c.key)) cell.append(element('span', { className: 'words' }));
      if (c.key === 'state') cell.append(element('span', { className: 'badges' }));
      if (c.key === 'note' && this.app.views.notes.isWritable) cell.append(this.noteButton(d.trial));
      return cell;
    });
    const row = element('tr', {}, element('td', { className: 'text' }, box), ...cells);
    Object.assign(row.dataset, { trial: d.trial, keys });
    row.key = d.key;
    return row;
  }

  noteButton(trial) {
    const button = element('button', { type: 'button', className: 'note', textContent: 'Edit' });
    button.setAttribute('aria-label', `note on trial ${trial}`);
    return button;
  }

  // Scroll the table to the row of a design, within the table: the page stays where it is.
  reveal(key) {
    const index = this.rows().findIndex((d) => d.key === key);
    if (index < 0) return;
    if (index >= this.app.state.rows) this.app.update({ rows: PAGE_ROWS * Math.ceil((index + 1) / PAGE_ROWS) });
    const [row, frame] = [this.nodes.get(key), this.node.parentElement];
    const head = this.node.tHead.offsetHeight;
    const [top, bottom] = [row.offsetTop - head, row.offsetTop + row.offsetHeight - frame.clientHeight];
    if (frame.scrollTop > top || frame.scrollTop < bottom) frame.scrollTop = top - (frame.clientHeight - head) / 3;
  }

  // The classes of the rows, their boxes, and the same in words.
  mark() {
    const { study, state, answer } = this.app;
    const selected = new Set(state.selected);
    for (const row of this.body.rows) {
      const design = study.byKey.get(row.key);
      const isSelected = selected.has(design.trial);
      const names = [
        design.state === 'done' ? '' : design.state,
        design.on_front ? 'front' : '',
        isSelected ? 'chosen' : '',
        design === answer.design ? 'pick' : '',
      ];
      row.className = names.filter(Boolean).join(' ');
      row.cells[0].firstChild.checked = isSelected;
      const words = [design.on_front ? 'on the front' : '', design === answer.design ? 'picked' : ''].filter(Boolean);
      const badges = row.querySelector('.badges');
      if (badges && badges.textContent !== words.join('')) {
        badges.replaceChildren(...words.map((word) => element('span', { className: `badge ${word.split(' ').at(-1)}`, textContent: word })));
      }
    }
    this.hovered = null;
    this.markHovered();
  }

  // Cheap enough for every move of the pointer.
  markHovered() {
    const { hover } = this.app.state;
    for (const [key, isHovered] of [[this.hovered, false], [hover, true]]) this.nodes.get(key)?.classList.toggle('hover', isHovered);
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
    const chosen = state.selected.flatMap((trial) => study.of(trial));
    const stops = study.isEveryEpoch ? ['stop_after', 'epochs_in_all'] : [];
    const names = study.columns.map((c) => c.name);
    const heads = ['trial', ...stops, 'design', 'state', 'on_front', ...study.allDimensions, ...names, 'time_estimated', 'test_acc', 'seeds', 'p_on_front', 'starred', 'note'];
    const lines = (state.selected.length ? chosen : this.rows()).map((d) => [
      d.trial, ...stops.map((name) => d[name]), d.label, study.stateWord(d.state), Number(d.on_front), ...study.allDimensions.map((name) => d.design[name]),
      ...names.map((name) => d.values?.[name]), Number(Boolean(d.time_estimated)), d.test_acc, d.seeds, d.probability, Number(Boolean(d.starred)), d.note,
    ].map(quoted).join());
    return `${[heads.join(), ...lines].join('\n')}\n`;
  }
}

function stateText(design, study) {
  const state = study.stateWord(design.state);
  if (design.reason && design.state !== 'done') return `${state}: ${design.reason}`;
  return design.pruned_after ? `pruned after ${counted(design.pruned_after, 'epoch')}` : state;
}

const epochsText = ({ stop_after: stop, epochs_in_all: all }) => (stop === undefined ? '-' : `${stop} of ${all}`);

// A field of a CSV file that no spreadsheet takes for a formula.
function quoted(value) {
  const text = String(value ?? '');
  const safe = /^[=+@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
}
