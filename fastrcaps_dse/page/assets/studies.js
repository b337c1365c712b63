// The list of studies that a live page offers. Another study is another address, so that a link and the way back work.
class Studies {
  constructor(app) {
    this.app = app;
    $('study').addEventListener('change', (event) => this.open(event.target.value));
    this.load();
  }

  async load() {
    const found = await this.app.source.studies().catch(() => []); // the server does not answer, as the status says
    const { name } = this.app.study;
    $('studies').hidden = found.length < 2;
    fill($('study'), found.map((s) => [s.name, `${s.name} (${s.dataset}, ${counted(s.designs, 'design')})`]), name);
    this.app.views.compare.offer(found.map((s) => s.name).filter((other) => other !== name));
  }

  open(name) {
    const parts = new URLSearchParams(location.search);
    parts.set('study', name);
    const { theme } = this.app.state;
    location.assign(`${location.pathname}?${parts}${theme ? `#theme=${theme}` : ''}`);
  }
}
