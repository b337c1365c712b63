// Follows a live study: asks for what changed whenever the server says that something did.
class Live {
  constructor(app, source) {
    this.app = app;
    this.source = source;
    this.fetching = false;
    this.lastSign = performance.now(); // of life from the server
    const events = source.events();
    events.addEventListener('message', (event) => this.receive(JSON.parse(event.data)));
    events.addEventListener('error', () => this.say('stale: the server does not answer; trying again', 'stale'));
    setInterval(() => {
      const isSilent = performance.now() - this.lastSign > 1000 * SILENCE_SECONDS;
      if (isSilent) this.say('stale: the server does not answer', 'stale');
    }, 1000);
  }

  say(text, kind) {
    const node = $('status');
    if (node.textContent !== text) node.textContent = text; // a reader of the screen says it once
    node.className = kind;
  }

  async receive({ revision, error, server }) {
    this.lastSign = performance.now();
    this.say(error ? `stale: ${error}` : 'live', error ? 'stale' : 'live');
    const { study } = this.app.state;
    const isNew = revision !== study.revision || server !== study.server;
    if (error || !isNew || this.fetching) return;
    this.fetching = true;
    try {
      await this.refresh(study, server === study.server ? study.revision : 0);
    } catch (problem) {
      this.say(`stale: ${problem.message}`, 'stale');
    } finally {
      this.fetching = false;
    }
  }

  // The curves of designs that changed, or were running, have grown: they are asked for again.
  async refresh(study, since) {
    const content = await this.source.content(since);
    const running = study.designs.filter((d) => d.state === 'running');
    for (const { trial } of [...running, ...content.designs]) this.app.curves.delete(trial);
    this.app.update({ study: study.after(content) });
  }
}
