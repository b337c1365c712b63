// What a person sets: axes, limits, preference, filter, theme; and what is taken away: the command, tables, pictures.
class Controls {
  constructor(app) {
    this.app = app;
    this.setTheme();
    this.fillAxes();
    this.fillLimits();
    const options = [['', 'by the limits'], ...this.app.names.map((n) => [n, this.app.column(n).title]), ['knee', 'the knee of the front']];
    $('prefer').replaceChildren(...options.map(([value, text]) => new Option(text, value)));
    $('prefer').value = this.app.state.prefer;
    $('prefer').addEventListener('change', () => { this.app.state.prefer = $('prefer').value; this.app.picking(); });
    for (const axis of 'xyz') {
      $(`axis-${axis}`).addEventListener('change', (event) => { this.app.state[axis] = event.target.value; this.app.drawScatter(); this.app.write(); });
    }
    $('filter').value = this.app.state.filter;
    $('filter').addEventListener('input', () => { this.app.state.filter = $('filter').value; this.app.table.draw(); this.app.parallel.draw(); this.app.drawScatter(); this.app.write(); });
    $('clear').addEventListener('click', () => { this.app.state.sel = []; this.app.selected(); });
    $('unbrush').addEventListener('click', () => { this.app.state.brush = {}; this.app.setBrush('', null, true); });
    $('loosen').addEventListener('click', () => { this.app.state.limits = {}; this.app.wrong = {}; this.app.picking(); });
    $('copy').addEventListener('click', () => this.copy());
    $('csv').addEventListener('click', () => save(`${fileName(this.app.study.name)}.csv`, new Blob([this.app.table.csv()], { type: 'text/csv' })));
    $('theme').addEventListener('click', () => {
      this.app.state.theme = isDark() ? 'light' : 'dark';
      this.setTheme();
      this.app.refresh();
    });
    for (const place of document.querySelectorAll('.export')) {
      for (const format of ['png', 'svg']) {
        const button = Object.assign(document.createElement('button'), { type: 'button', textContent: format.toUpperCase() });
        button.setAttribute('aria-label', `${place.dataset.plot} as ${format.toUpperCase()}`);
        button.addEventListener('click', () => this.exportPlot(place.dataset.plot, format));
        place.append(button);
      }
    }
  }

  fillAxes() {
    for (const axis of 'xyz') {
      const options = this.app.columns.map((c) => new Option(c.title, c.name));
      if (axis === 'z') options.unshift(new Option('none', ''));
      $(`axis-${axis}`).replaceChildren(...options);
      $(`axis-${axis}`).value = this.app.state[axis];
    }
  }

  fillLimits() {
    const place = $('limits');
    if (!place.children.length) place.append(...this.app.columns.map((c) => this.limitRow(c)));
    for (const c of this.app.columns) {
      const [slider, field, wrong] = ['range', 'text', 'wrong'].map((kind) => $(`limit-${kind}-${c.name}`));
      const text = this.app.state.limits[c.name];
      if (document.activeElement !== field) field.value = text || '';
      if (document.activeElement !== slider) slider.value = text === undefined ? slider.dataset.off : this.sliderAt(c, parseQuantity(c.name, text));
      slider.parentElement.classList.toggle('off', text === undefined);
      slider.setAttribute('aria-valuetext', text === undefined ? 'no limit' : text);
      wrong.textContent = this.app.wrong[c.name] || '';
      field.setAttribute('aria-invalid', Boolean(this.app.wrong[c.name]));
    }
  }

  limitRow(c) {
    const row = Object.assign(document.createElement('div'), { className: 'limit' });
    const bound = this.app.boundOf(c.name);
    const label = Object.assign(document.createElement('label'), { htmlFor: `limit-text-${c.name}`, textContent: `${c.title}, ${bound === 'max' ? 'at most' : 'at least'}` });
    const slider = Object.assign(document.createElement('input'), { type: 'range', id: `limit-range-${c.name}`, min: 0, max: 100, step: 1 });
    slider.dataset.off = bound === 'max' ? 100 : 0;
    slider.setAttribute('aria-label', label.textContent);
    slider.addEventListener('input', () => {
      this.app.setLimit(c.name, slider.value === slider.dataset.off ? '' : limitText(c.name, this.sliderValue(c, Number(slider.value)), bound));
    });
    const field = Object.assign(document.createElement('input'), { type: 'text', id: `limit-text-${c.name}`, placeholder: `e.g. ${EXAMPLES[kindOf(c.name)]}`, autocomplete: 'off' });
    field.addEventListener('input', () => this.app.setLimit(c.name, field.value));
    const wrong = Object.assign(document.createElement('div'), { className: 'wrong', id: `limit-wrong-${c.name}` });
    wrong.setAttribute('role', 'alert');
    field.setAttribute('aria-describedby', wrong.id);
    row.append(label, slider, field, wrong);
    return row;
  }

  rangeOf(c) {
    const values = this.app.done.map((d) => d.v[c.name]);
    const [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
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
    } catch {
      const range = document.createRange();
      range.selectNodeContents($('command'));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      document.execCommand('copy');
    }
    $('copy').textContent = 'Copied';
    setTimeout(() => { $('copy').textContent = 'Copy'; }, 1500);
  }

  setTheme() {
    document.documentElement.dataset.theme = isDark(this.app.state.theme) ? 'dark' : 'light';
    $('theme').textContent = isDark() ? 'Light' : 'Dark';
  }

  async exportPlot(id, format) {
    const name = `${fileName(this.app.study.name)}-${id}.${format}`;
    if (id === 'parallel') {
      const text = this.app.parallel.text();
      save(name, format === 'svg' ? new Blob([text], { type: 'image/svg+xml' }) : await rastered(text, this.app.parallel.width, this.app.parallel.height));
      return;
    }
    const node = $(id);
    const url = await Plotly.toImage(node, { format, width: node.clientWidth, height: node.clientHeight, scale: format === 'png' ? 2 : 1 });
    save(name, blobOf(url));
  }
}
