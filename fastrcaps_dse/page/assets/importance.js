// How much each dimension matters for each objective.
class Importance extends Panel {
  constructor(app) {
    super(app, 'importance-panel');
    this.asked = null; // the study that was asked about
  }

  async show() {
    const study = this.app.study.whole;
    if (this.asked === study) return;
    this.asked = study;
    if (!this.body.childElementCount) this.say('Working it out ...');
    try {
      const found = await this.app.source.panel('importance');
      if (this.asked === study) this.fill(found);
    } catch (error) {
      this.asked = null;
      this.say(`The importances cannot be had: ${error.message}`);
    }
  }

  fill({ note, method, objectives }) {
    const texts = [method, note].filter(Boolean).map((textContent) => element('p', { className: 'hint', textContent }));
    const parts = objectives.map(({ name, shares }) => this.table(name, shares));
    this.body.replaceChildren(...texts, element('div', { className: 'charts' }, ...parts));
  }

  table(name, shares) {
    const title = this.app.study.whole.column(name)?.title ?? name;
    const rows = shares.map(([dimension, share]) => {
      const bar = element('span', { className: 'bar' });
      bar.style.width = `${100 * share}%`;
      const cells = [dimension.replaceAll('_', ' ').replace('.', ': '), `${fixed(100 * share, 0)} %`].map((textContent) => element('td', { textContent }));
      cells[0].className = 'text';
      return element('tr', {}, cells[0], cells[1], element('td', { className: 'bars' }, bar));
    });
    const caption = element('caption', { textContent: `Importance for ${title}` });
    return element('table', { className: 'importance' }, caption, element('tbody', {}, ...rows));
  }
}
