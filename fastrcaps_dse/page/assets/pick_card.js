// The picked design with its reasons, and the command line that picks the same.
const LIMIT_OPTIONS = { params: '--max-params', time: '--max-time', acc: '--min-acc' }; // the command line takes these first

// The limits that `texts` sets by objective, in the order in which the command line takes them.
function limitsOf(study, texts) {
  const first = Object.keys(LIMIT_OPTIONS);
  const others = study.columns.map((c) => c.name).filter((name) => !first.includes(name));
  const given = [...first, ...others].filter((name) => name in texts && study.column(name));
  return given.map((name) => {
    const [text, bound] = [texts[name], boundOf(study.column(name))];
    return { objective: name, bound, text, value: parseQuantity(name, text) };
  });
}

// The standard error of a value, if there is one.
function errorText(design, name) {
  const error = design.errors?.[name];
  return error ? ` ± ${significant(error, 2)}` : '';
}

// A value as the table and the pick show it.
const valueText = (design, name) => formatValue(name, design.values[name], design.time_estimated) + errorText(design, name);

// What a reader that does not see the mark of an estimate is told.
const estimatedWords = (design, name) => (design.time_estimated && isTimed(name) ? ' estimated' : '');

class PickCard {
  constructor(app) {
    this.app = app;
    this.node = $('picked');
  }

  draw() {
    const { answer, study } = this.app;
    const { design, nearest } = answer;
    const nothing = study.measured.length ? 'Nothing fits these limits' : 'No design is measured yet';
    const nodes = [element('h3', { textContent: design ? `${design.label} (trial ${design.trial})` : nothing })];
    const leftOut = Object.entries(this.app.state.invalid).map(([name, { text }]) => `${this.app.study.column(name).title} "${text}"`);
    if (leftOut.length) {
      const verb = leftOut.length > 1 ? 'they are' : 'it is';
      nodes.push(element('p', { className: 'wrong', textContent: `without ${leftOut.join(' and ')}: ${verb} not valid` }));
    }
    if (nearest) nodes.push(element('p', { textContent: `nearest miss: ${nearest.label} (trial ${nearest.trial})` }));
    if (design || nearest) nodes.push(this.values(design || nearest));
    nodes.push(element('ul', {}, ...answer.why.map((line) => element('li', { textContent: line }))));
    const early = design ? earlyText(design) : '';
    if (early) nodes.push(element('p', { className: 'hint', id: 'early', textContent: early }));
    if (design?.weights || design?.stop_after) nodes.push(...this.files(design)); // those of an epoch can be made again
    this.node.className = design ? '' : 'none';
    this.node.replaceChildren(...nodes);
    $('command').textContent = this.commandLine();
  }

  values(design) {
    const rows = this.app.study.objectives.map((c) => [c.title, valueText(design, c.name), estimatedWords(design, c.name)]);
    if (design.test_acc !== undefined) rows.push(['test accuracy', formatValue('acc', design.test_acc) + errorText(design, 'test_acc')]);
    if (design.test_robust !== undefined) rows.push(['test accuracy on affine copies', formatValue('acc', design.test_robust)]);
    const nodes = rows.flatMap(([title, text, words = '']) => [
      element('dt', { textContent: title }), element('dd', {}, text, element('span', { className: 'words', textContent: words })),
    ]);
    return element('dl', {}, ...nodes);
  }

  // Where the weights are, and how to get them as files that run elsewhere.
  files({ trial, weights, stop_after: stop }) {
    const isServed = weights && weights === this.app.study.byTrial.get(trial).weights; // the server has those of the whole run
    const link = isServed ? this.app.source.weightsAddress(trial) : null;
    const place = weights ? [element('p', { textContent: `weights: ${weights}`, className: 'hint' })] : [];
    if (link) place[0].append(' ', element('a', { id: 'download', href: link, download: '', textContent: 'Download' }));
    const [suffix, option] = stop === undefined ? ['', ''] : [`-${stop}`, ` --stop-after ${stop}`];
    const command = `${this.app.study.exportCommand}${option} --out capsnet-${trial}${suffix} ${trial}`;
    return [...place, element('p', { className: 'hint' }, 'as files that run elsewhere: ', element('code', { id: 'export', textContent: command }))];
  }

  commandLine() {
    const { study, state } = this.app;
    const limits = limitsOf(study, state.limits).map(({ objective, bound, text }) => {
      const option = LIMIT_OPTIONS[objective];
      return option ? `${option} ${shellQuoted(text)}` : `--limit ${shellQuoted(`${objective}${signOf({ bound })}${text}`)}`;
    });
    const view = study.isEveryEpoch === study.isAnytime ? [] : [study.isEveryEpoch ? '--anytime' : '--whole-runs'];
    return [study.command, ...view, ...limits, ...(state.prefer ? [`--prefer ${shellQuoted(state.prefer)}`] : [])].join(' ');
  }
}
