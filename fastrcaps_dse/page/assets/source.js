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
    return content;
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

  follow() {
    $('status').textContent = 'a file';
  }
}

class ServerSource {
  constructor() {
    this.token = new URLSearchParams(location.search).get('token');
  }

  // The study, with the designs that changed after a revision.
  content(since = 0) {
    return this.get(`data?since=${since}`);
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

  async get(path) {
    const answer = await fetch(`${path}&${this.credentials()}`);
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  }

  credentials() {
    return this.token ? `token=${encodeURIComponent(this.token)}` : '';
  }
}
