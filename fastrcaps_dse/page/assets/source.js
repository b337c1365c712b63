// Where the page has its data from: the file that it is in, or a server.
class FileSource {
  constructor(node) {
    this.packed = node.textContent;
    this.found = {}; // curves by trial
  }

  async content() {
    const [content, curves, plans] = JSON.parse(await unzipped(this.packed));
    for (const found of Object.values(curves)) Object.assign(found, { rate: plans[found.rate], batch: plans[found.batch] });
    this.found = curves;
    this.panels = content.panels;
    this.compared = content.compared; // a second study, if the report has one
    return content;
  }

  async panel(name) {
    return this.panels[name];
  }

  async studies() {
    if (!this.compared) return [];
    const { study, designs } = this.compared;
    return [{ name: study.name, dataset: study.facts['data set'], designs: designs.length }];
  }

  async other() {
    return this.compared;
  }

  async curves() {
    return this.found;
  }

  // plotly.js, once it is there.
  library() {
    this.loading ||= unzipped($('library').textContent).then((text) => document.head.append(element('script', { textContent: text })));
    return this.loading;
  }

  weightsAddress() {
    return null; // a file has none
  }

  askForEpochs() {} // a file has them, or none

  follow() {
    $('status').textContent = 'offline report';
  }
}

class ServerSource {
  constructor() {
    const parts = new URLSearchParams(location.search);
    this.token = parts.get('token');
    this.study = parts.get('study'); // without it, the server's own choice
    this.isLive = true;
    this.hasEpochs = new URLSearchParams(location.hash.slice(1)).get('epochs') === 'every'; // whether the epochs of all runs are asked for
  }

  // What a panel shows that the server works out when it is asked.
  panel(name) {
    return this.get(`${name}?`);
  }

  studies() {
    return this.get('studies?');
  }

  // The whole of another study.
  other(name) {
    return this.get('data?since=0', name);
  }

  // Write a note on a design, with the secret that only this page can read.
  async writeNote(note) {
    const { secret } = await this.get('notes?');
    const headers = { 'Content-Type': 'application/json', 'X-FastrCaps-Note': secret };
    const answer = await fetch(`note?${this.credentials()}`, { method: 'POST', headers, body: JSON.stringify(note) });
    if (!answer.ok) throw new Error(await answer.text());
  }

  // The study, with the designs that changed after a revision.
  content(since = 0) {
    return this.get(`data?since=${since}${this.hasEpochs ? '&epochs=1' : ''}`);
  }

  // Ask for the epochs of all runs, once: they come as changes of the study.
  askForEpochs(study) {
    if (this.hasEpochs) return;
    this.hasEpochs = true;
    this.live.refresh(study, study.revision).catch(() => { this.hasEpochs = false; }); // the status says that the server does not answer
  }

  curves(trials) {
    return this.get(`curves?trials=${trials.join()}`);
  }

  // plotly.js, once it is there.
  library() {
    this.loading ||= new Promise((resolve, reject) => {
      const script = element('script', { src: `plotly.js?${this.credentials()}` });
      script.addEventListener('load', resolve);
      script.addEventListener('error', () => {
        this.loading = null; // the next one tries again
        reject(new Error('the server does not give plotly.js'));
      });
      document.head.append(script);
    });
    return this.loading;
  }

  weightsAddress(trial) {
    return `weights?trial=${trial}&${this.credentials()}`;
  }

  events() {
    return new EventSource(`events?${this.credentials()}`);
  }

  follow(app) {
    this.live = new Live(app, this);
  }

  async get(path, study = this.study) {
    const answer = await fetch(`${path}&${this.credentials(study)}`);
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  }

  credentials(study = this.study) {
    return new URLSearchParams({ ...(this.token && { token: this.token }), ...(study && { study }) }).toString();
  }
}
