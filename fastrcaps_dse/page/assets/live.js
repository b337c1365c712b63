// Follows a live study: asks for what changed whenever the server says that something did.
function follow(app) {
  const source = new EventSource(`events${app.token ? `?token=${encodeURIComponent(app.token)}` : ''}`);
  let heard = performance.now();
  source.onmessage = async (event) => {
    heard = performance.now();
    const { revision, error, server } = JSON.parse(event.data);
    if (error) { status(`stale: ${error}`, 'stale'); return; }
    status('live', 'live');
    const restarted = server !== app.server;
    if ((revision === app.revision && !restarted) || app.fetching) return;
    app.fetching = true;
    try {
      const running = app.designs.filter((d) => d.s === 'running').map((d) => d.t);
      const content = await app.get(`data?since=${restarted ? 0 : app.revision}`);
      if (restarted) app.byTrial.clear();
      app.take(content);
      for (const t of [...running, ...content.designs.map((d) => d.t)]) app.curves.delete(t);
      app.refresh();
    } catch (problem) {
      status(`stale: ${problem.message}`, 'stale');
    } finally {
      app.fetching = false;
    }
  };
  setInterval(() => { if (performance.now() - heard > 12000) status('stale: the server does not answer', 'stale'); }, 1000);
  source.onerror = () => status('stale: the server does not answer; trying again', 'stale');
}
