// What the user sets (axes, limits, preference, filter, theme), copies (the command) and saves (the table, the plots).

// Put options into a menu, unless they are there already: an open menu would close. `options` are pairs of value and text.
function fill(select, options, value) {
  const key = JSON.stringify(options);
  if (select.dataset.options !== key) {
    select.replaceChildren(...options.map(([name, text]) => new Option(text, name)));
    select.dataset.options = key;
  }
  select.value = value;
}

// Let Escape and a press outside close a menu. Escape gives the focus back to what opened it.
function closable(menu) {
  menu.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || !menu.open) return;
    event.stopPropagation();
    menu.open = false;
    menu.querySelector('summary').focus();
  });
  let hadFocus = false;
  document.addEventListener('pointerdown', (event) => {
    if (!menu.open || menu.contains(event.target)) return;
    hadFocus = menu.contains(document.activeElement);
    menu.open = false;
  });
  document.addEventListener('mouseup', () => { // by now the focus is where the press has moved it
    const focused = document.activeElement;
    const isLost = menu.contains(focused) || !focused?.matches('a, button, input, select, summary, [tabindex="0"]');
    if (hadFocus && isLost) menu.querySelector('summary').focus();
    hadFocus = false;
  });
}

class Controls {
  constructor(app) {
    this.app = app;
    const on = (id, kind, act) => $(id).addEventListener(kind, act);
    on('prefer', 'change', (event) => app.update({ prefer: event.target.value }));
    for (const axis of ['x', 'y', 'z']) on(`axis-${axis}`, 'change', (event) => app.update({ [axis]: event.target.value }));
    for (const button of document.querySelectorAll('#epochs input')) button.addEventListener('change', () => app.update({ epochs: button.value }));
    on('filter', 'input', (event) => app.update({ filter: event.target.value }));
    on('clear', 'click', () => app.update({ selected: [] }));
    on('unbrush', 'click', () => app.update({ ranges: {} }));
    on('loosen', 'click', () => app.update({ limits: {}, invalid: {} }));
    on('theme', 'click', () => app.update({ theme: document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark' }));
    on('copy', 'click', () => this.copy());
    on('csv', 'click', () => save(`${fileName(app.study.name)}.csv`, new Blob([app.views.table.csv()], { type: 'text/csv' })));
    for (const menu of document.querySelectorAll('details.menu')) closable(menu);
    for (const place of document.querySelectorAll('.export')) {
      place.append(...['png', 'svg'].map((format) => this.exportButton(place.dataset.plot, format)));
    }
  }

  showHeader() {
    const { name, summary, notes } = this.app.study;
    $('name').textContent = name;
    $('summary').textContent = summary;
    $('epochs').hidden = !this.app.study.hasEpochs;
    for (const button of document.querySelectorAll('#epochs input')) {
      button.checked = (button.value === 'every') === wantsEveryEpoch(this.app.state);
    }
    $('notes').replaceChildren(...notes.map((text) => element('p', { textContent: text })));
  }

  showTheme() {
    const theme = isDark(this.app.state.theme) ? 'dark' : 'light';
    document.documentElement.dataset.theme = theme;
    $('theme').textContent = theme === 'dark' ? 'Light' : 'Dark';
  }

  showAxes() {
    const columns = this.app.study.columns.map((c) => [c.name, c.title]);
    for (const axis of ['x', 'y', 'z']) {
      fill($(`axis-${axis}`), columns, this.app.state[axis]);
    }
  }

  showPreference() {
    const objectives = this.app.study.objectives.map((c) => [c.name, c.title]);
    fill($('prefer'), [['', 'by the limits'], ...objectives, ['knee', 'the knee of the front']], this.app.state.prefer);
  }

  showFilter() {
    const { filter } = this.app.state;
    if ($('filter').value !== filter) $('filter').value = filter; // setting it would move the cursor
  }

  showLimits() {
    const { columns } = this.app.study;
    const place = $('limits');
    const names = columns.map((c) => `${c.name} ${c.title}`).join();
    if (place.dataset.columns !== names) place.replaceChildren(...columns.map((c) => this.limitRow(c)));
    place.dataset.columns = names;
    for (const c of columns) this.showLimit(c);
  }

  showLimit(c) {
    const { limits, invalid } = this.app.state;
    const [slider, field, wrong] = ['range', 'text', 'wrong'].map((kind) => $(`limit-${kind}-${c.name}`));
    const text = limits[c.name];
    const isOff = text === undefined;
    if (document.activeElement !== field) field.value = text || invalid[c.name]?.text || '';
    if (document.activeElement !== slider) {
      slider.value = isOff ? slider.dataset.off : this.sliderAt(c, parseQuantity(c.name, text));
    }
    slider.parentElement.classList.toggle('off', isOff);
    slider.setAttribute('aria-valuetext', isOff ? 'no limit' : text);
    const said = invalid[c.name] ? `${invalid[c.name].wrong}. No limit on it is in force.` : '';
    if (wrong.textContent !== said) wrong.textContent = said; // a reader of the screen says it once
    field.setAttribute('aria-invalid', Boolean(said));
  }

  limitRow(c) {
    const bound = boundOf(c);
    const [fieldId, wrongId] = [`limit-text-${c.name}`, `limit-wrong-${c.name}`];
    const title = `${c.title}, ${bound === 'max' ? 'at most' : 'at least'}`;
    const slider = element('input', { type: 'range', id: `limit-range-${c.name}`, min: 0, max: 100, step: 1 });
    slider.dataset.off = bound === 'max' ? 100 : 0;
    slider.setAttribute('aria-label', title);
    slider.addEventListener('input', () => {
      const isOff = slider.value === slider.dataset.off;
      this.app.setLimit(c.name, isOff ? '' : limitText(c.name, this.sliderValue(c, Number(slider.value)), bound));
    });
    const placeholder = `e.g. ${EXAMPLES[kindOf(c.name)][0]}`;
    const field = element('input', { type: 'text', id: fieldId, placeholder, autocomplete: 'off' });
    field.addEventListener('input', () => this.app.setLimit(c.name, field.value));
    field.setAttribute('aria-describedby', wrongId);
    const wrong = element('div', { className: 'wrong', id: wrongId });
    wrong.setAttribute('role', 'alert');
    const label = element('label', { htmlFor: fieldId, textContent: title });
    return element('div', { className: 'limit' }, label, slider, field, wrong);
  }

  // The range of an objective, as a slider goes through it: of logarithms where its axis is logarithmic.
  rangeOf(c) {
    const values = this.app.study.measured.map((d) => d.values[c.name]);
    const [low, high] = values.length ? [smallest(values), greatest(values)] : [0, 1];
    return c.log ? [Math.log(Math.max(low, 1e-9)), Math.log(Math.max(high, 1e-9))] : [low, high];
  }

  sliderValue(c, at) {
    const [low, high] = this.rangeOf(c);
    const value = low + ((high - low) * at) / 100;
    return c.log ? Math.exp(value) : value;
  }

  sliderAt(c, value) {
    const [low, high] = this.rangeOf(c);
    const at = c.log ? Math.log(Math.max(value, 1e-9)) : value;
    return Math.round((100 * (at - low)) / (high - low || 1));
  }

  async copy() {
    try {
      await navigator.clipboard.writeText($('command').textContent);
    } catch { // a page from an insecure address may not write to the clipboard
      const range = document.createRange();
      range.selectNodeContents($('command'));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      document.execCommand('copy');
    }
    $('copy').textContent = 'Copied';
    setTimeout(() => { $('copy').textContent = 'Copy'; }, 1500);
  }

  exportButton(plot, format) {
    const button = element('button', { type: 'button', textContent: format.toUpperCase() });
    button.setAttribute('aria-label', `${plot} as ${format.toUpperCase()}`);
    button.addEventListener('click', () => exportPlot(this.app, plot, format));
    return button;
  }
}
