// The runs by wall clock, a row for each worker.
const LANE = 26; // px
const LANE_NAME = 0.3; // of the width, at most
const MOST_BARS = 4000; // drawn; of a larger study the latest

class Timeline extends Panel {
  constructor(app) {
    super(app, 'timeline-panel');
    this.asked = null;
    this.body.addEventListener('click', (event) => app.toggle(event.target.dataset?.trial && Number(event.target.dataset.trial)));
  }

  async show() {
    const { study } = this.app.state;
    if (this.asked !== study) {
      this.asked = study;
      try {
        this.found = await this.app.source.panel('timeline');
      } catch (error) {
        this.asked = null;
        this.say(`The runs cannot be had: ${error.message}`);
        return;
      }
    }
    if (this.asked === study) this.fill();
  }

  fill() {
    const { origin, lanes, workers, runs } = this.found;
    if (!runs.length) {
      this.say('No run has been started yet.');
      return;
    }
    const now = this.app.source.isLive ? Date.now() / 1000 - origin : Math.max(...runs.map(([, , from, to]) => to ?? from));
    const drawn = runs.slice(-MOST_BARS);
    const times = drawn.flatMap(([, , from, to]) => [from, to ?? now]).map((t) => Math.max(0, t));
    const [width, height] = [Math.max(240, this.body.clientWidth), ROOM.top + ROOM.bottom + LANE * lanes.length];
    const hasHosts = new Set(lanes.map(([, host]) => host)).size > 1;
    const names = lanes.map(([device, host]) => (hasHosts && host ? `${host}: ${device}` : device));
    const left = Math.min(LANE_NAME * width, 10 + Math.max(...names.map((name) => widthOf(name))));
    const x = { ...scaleOf(times, { name: 'time', pad: 0 }, left + 4, width - ROOM.right - 12) };
    x.text = (t) => (t === 0 ? '0' : valueTick('time', t));
    const y = { at: (lane) => ROOM.top + LANE * (lane + 0.5), ticks: lanes.map((_, k) => k), text: (k) => fitted(names[k], left - 8) };
    const begun = new Date(1000 * origin).toLocaleString();
    const { node, plot } = chartOf({ width, height, label: 'Runs by wall clock; the table holds the states', x, y, left, xTitle: `since ${begun}` });
    for (const [trial, seed, from, to, state, lane, worker] of drawn) {
      const end = to ?? Math.max(now, from);
      const bar = svg('rect', { x: x.at(from), width: Math.max(1.5, x.at(end) - x.at(from)), y: y.at(lane) - 8, height: 16, class: `run ${state}` });
      bar.dataset.trial = trial;
      const label = this.app.study.byTrial.get(trial)?.label ?? '';
      const words = `trial ${trial}, seed ${seed}: ${this.app.study.stateWord(state)}, ${formatSeconds(Math.max(0, end - from))}${to === null ? ' so far' : ''}`;
      const [host, process] = workers[worker] ?? [];
      const place = host === undefined ? '' : `; on ${host}, process ${process}, ${lanes[lane][0]}`;
      plot.append(titled(bar, `${words}${place}; ${label}`));
    }
    this.body.replaceChildren(this.legend(drawn, runs.length), node);
  }

  legend(drawn, total) {
    const counts = Map.groupBy(drawn, ([, , , , state]) => state);
    const parts = ['done', 'pruned', 'failed', 'running', 'interrupted'].filter((state) => counts.has(state)).map((state) => {
      const key = svg('svg', { width: 16, height: 12, 'aria-hidden': true });
      key.append(svg('rect', { x: 0.5, y: 0.5, width: 15, height: 11, class: `run ${state}` }));
      return element('span', {}, key, ` ${counts.get(state).length} ${this.app.study.stateWord(state)}`);
    });
    const text = `A row is a worker, a bar a run, from its start to its end, pauses included.${total > drawn.length ? ` The latest ${thousands(drawn.length)} of ${thousands(total)} runs.` : ''}`;
    return element('p', { className: 'legend' }, ...parts, element('span', { textContent: text }));
  }
}
