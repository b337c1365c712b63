// Keep and exclude: which designs are shown at all, in every view but the pick, which is that of the command line.
const setsOf = new WeakMap(); // by array: its set, made once

function setOf(numbers) {
  if (!setsOf.has(numbers)) setsOf.set(numbers, new Set(numbers));
  return setsOf.get(numbers);
}

// Whether a design was neither excluded, nor left behind when others were kept.
function isKept({ trial }, { only, without }) {
  return (!only || setOf(only).has(trial)) && !(without.length && setOf(without).has(trial));
}

class Keeping {
  constructor(app) {
    this.app = app;
    $('keep').addEventListener('click', () => this.apply((trials) => ({ only: trials })));
    $('exclude').addEventListener('click', () => this.apply((trials) => ({ without: [...app.state.without, ...trials] })));
    $('restore').addEventListener('click', () => app.update({ only: null, without: [] }));
  }

  // The designs that the buttons are about: the selected ones; without a selection, those in the ranges and the filter.
  targets() {
    const { study, state } = this.app;
    const shown = study.designs.filter((d) => this.app.admits(d));
    const selected = shown.filter((d) => state.selected.includes(d.trial));
    if (selected.length) return selected;
    return Object.keys(state.ranges).length || state.filter.trim() ? shown : [];
  }

  // Their trials, each once.
  trials() {
    return [...new Set(this.targets().map((d) => d.trial))];
  }

  apply(patchOf) {
    const trials = this.trials();
    if (trials.length) this.app.update({ ...patchOf(trials), ranges: {}, selected: [], filter: '' });
  }

  draw() {
    const { study, state } = this.app;
    const count = this.trials().length;
    for (const [id, word] of [['keep', 'Keep'], ['exclude', 'Exclude']]) {
      $(id).disabled = !count;
      $(id).textContent = count ? `${word} ${counted(count, 'design')}` : word;
    }
    const hidden = study.whole.designs.filter((d) => !isKept(d, state)).length;
    $('restore').hidden = !state.only && !state.without.length;
    $('kept').textContent = hidden ? `${counted(hidden, 'design')} hidden` : '';
  }
}
