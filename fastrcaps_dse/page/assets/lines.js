// Curves of runs over the epochs, and of the hypervolume.
const MAX_NAME = 44; // letters of a design's name in a legend
const TRACK_LEFT = 76; // px left of rates and batch sizes, so that both have one axis of epochs

// Mean and range over the runs of a design, up to the length of the shortest.
function bandOf(runs) {
  const length = Math.min(...runs.map((run) => run.acc.length));
  const columns = Array.from({ length }, (_, k) => runs.map((run) => run.acc[k]));
  return {
    mean: columns.map((c) => c.reduce((a, b) => a + b, 0) / c.length),
    low: columns.map((c) => Math.min(...c)),
    high: columns.map((c) => Math.max(...c)),
  };
}

// A rate as people write it: 0.003, 9.89e-04.
const rateText = (rate) => (rate >= 1e-3 ? String(Number(rate.toPrecision(3))) : rate.toExponential(2));
const epochText = (epoch) => `epoch ${Number(epoch.toFixed(3))}`;

class Lines {
  constructor(app) {
    this.app = app;
    const shared = { charts: [], x: undefined }; // rate and batch size have one axis of epochs
    this.charts = {
      accuracy: new Chart(app, $('accuracy')),
      rate: new Chart(app, $('rate'), { hasX: false, leastLeft: TRACK_LEFT, shared }),
      batch: new Chart(app, $('batch'), { mostY: 5, leastLeft: TRACK_LEFT, shared }),
      'by-trials': new Chart(app, $('by-trials')),
      'by-seconds': new Chart(app, $('by-seconds')),
    };
  }

  // The designs whose curves are compared, with their color, dash and name.
  compared() {
    const { study, curves, derived } = this.app;
    return derived.compared.flatMap((trial, index) => {
      const found = curves.get(trial);
      const runs = (found?.runs ?? []).filter((run) => run.acc.length);
      if (!runs.length) return [];
      const whole = `${trial}: ${study.byTrial.get(trial)?.label ?? ''}`;
      const name = whole.length > MAX_NAME ? `${whole.slice(0, MAX_NAME - 1)}…` : whole;
      const style = Math.floor(index / PALETTE.length) % DASHES.length;
      return [{ trial, name, whole, runs, plans: found, color: PALETTE[index % PALETTE.length], style, dash: DASHES[style] }];
    });
  }

  drawCurves() {
    const designs = this.compared();
    const none = 'no epoch is recorded of these designs yet';
    const plannedEpochs = designs.map(({ plans }) => plans.batch[0].at(-1));
    const epochs = epochAxis(0, Math.max(1, ...plannedEpochs));
    this.charts.accuracy.draw({ ...this.accuracies(designs), none });
    this.charts.rate.draw({ x: epochs, ...this.planned(designs, 'rate'), none });
    this.charts.batch.draw({ x: epochs, ...this.planned(designs, 'batch'), none: '' });
    const isError = this.app.views.scatter.isError();
    $('accuracy-title').textContent = `${isError ? 'Error' : 'Accuracy'} over epochs`;
    $('accuracy-legend').replaceChildren(...this.legend().map(({ symbol, color, text, whole }) => {
      const mark = element('span', { textContent: symbol });
      mark.style.color = color;
      mark.setAttribute('aria-hidden', true);
      return element('span', { title: whole }, mark, ` ${text}`);
    }));
    $('rate-note').textContent = this.isPlanned(designs) ? 'Colors as in the accuracies. Dotted: planned, not trained.' : 'Colors as in the accuracies.';
  }

  legend() {
    const items = this.compared().map(({ name, whole, color, style }) => ({ symbol: DASH_SYMBOLS[style], color, text: name, whole }));
    if (this.compared().some(({ runs }) => runs.length > 1)) {
      items.push({ symbol: '▒', color: css('faint'), text: 'band: the range over the seeds', whole: '' });
    }
    if (this.app.study.isEveryEpoch) items.push({ symbol: SYMBOLS.diamond, color: css('faint'), text: 'on the front if stopped there', whole: '' });
    return items;
  }

  accuracies(designs) {
    const isError = this.app.views.scatter.isError();
    const series = designs.map(({ trial, whole, runs, color, dash }) => {
      const { mean, low, high } = bandOf(runs);
      const say = (k) => {
        const range = runs.length > 1 ? [`${fixed(low[k], 2)} to ${fixed(high[k], 2)} % over ${counted(runs.length, 'seed')}`] : [];
        return [whole, `epoch ${k + 1}: accuracy ${fixed(mean[k], 2)} % (error ${fixed(100 - mean[k], 2)} %)`, ...range];
      };
      const points = mean.map((value, k) => [k + 1, value]);
      const members = this.membersOf(trial);
      return { trial, color, dash, points, members, say, hasMarks: true, hasEpochs: true, band: runs.length > 1 ? { low, high } : undefined };
    });
    const values = series.flatMap(({ points, members, band }) => [...[...points, ...members].map(([, value]) => value), ...(band ? [...band.low, ...band.high] : [])]);
    const y = columnAxis({ name: 'acc', direction: 'maximize' }, values, isError);
    return { series, y, x: epochAxis(1, Math.max(2, ...series.map(({ points }) => points.length))) };
  }

  // Where a design is on the front of the anytime view: epoch and accuracy.
  membersOf(trial) {
    const { study } = this.app;
    return study.isEveryEpoch ? study.of(trial).filter((d) => d.on_front).map((d) => [d.stop_after, d.values.acc]) : [];
  }

  isPlanned(designs) {
    return designs.some(({ runs, plans }) => trained(runs) < plans.batch[0].at(-1));
  }

  // Learning rate or batch size over the epochs: solid what was trained, dotted what is planned.
  planned(designs, key) {
    const isRate = key === 'rate';
    const series = designs.map(({ trial, whole, runs, plans, color, dash }) => {
      const [xs, values] = plans[key];
      const said = (value) => (isRate ? `learning rate ${rateText(value)}` : `batch size ${thousands(value)}`);
      const isTrained = (x) => x <= trained(runs);
      const say = (k) => [whole, `${epochText(xs[k])}: ${said(values[k])}${isTrained(xs[k]) ? '' : ' (planned, not trained)'}`];
      return { trial, color, dash, points: xs.map((x, k) => [x, values[k]]), say, until: trained(runs), hasEpochs: true };
    });
    const values = [...new Set(series.flatMap(({ points }) => points.map(([, value]) => value)))];
    const axis = isRate ? { title: 'learning rate' } : { title: 'batch', only: values };
    return { series, y: new Axis({ ...axis, isLog: true }, values) };
  }

  drawHypervolume() {
    const { trials, seconds, shares } = this.app.study.hypervolume;
    const counts = shares.map((_, k) => k + 1);
    const say = (k) => [`${fixed(100 * shares[k], 1)} %`, `after ${counted(k + 1, 'measured trial')}, the last is ${trials[k]}`, `training ${formatSeconds(seconds[k])}`];
    const y = new Axis({ title: 'share of its last value (%)', map: (share) => 100 * share, limit: 100 }, [0, 1]);
    const series = (xs) => (shares.length ? [{
      trials, color: css('front'), isStep: true, hasMarks: true, say, points: xs.map((x, k) => [x, shares[k]]),
    }] : []);
    const none = 'no design is measured yet';
    const [factor, unit] = secondsUnit(Math.max(...seconds, 0));
    $('by-seconds-note').hidden = !this.app.study.isEveryEpoch;
    const ofSeconds = new Axis({ title: `training (${unit})`, map: (s) => s / factor }, [0, ...seconds]);
    this.charts['by-trials'].draw({ x: new Axis({ title: 'measured trials', isWhole: true }, counts), y, series: series(counts), none });
    this.charts['by-seconds'].draw({ x: ofSeconds, y, series: series(seconds), none });
  }
}

// The epochs that the longest of the runs has trained.
const trained = (runs) => Math.max(...runs.map((run) => run.acc.length));
