// A study as the server or the file gives it. It never changes: what is new makes another one.
class Study {
  // `content` holds the study with all its designs, or only those that changed since `earlier` ones.
  constructor(content, earlier = []) {
    const { name, summary, notes, objectives, command, facts, workers, export: exportCommand } = content.study;
    Object.assign(this, { name, summary, notes, command, facts, workers, exportCommand, names: objectives });
    const { anytime, starts_anytime: startsAnytime, has_epochs: hasEpochs } = content.study;
    Object.assign(this, { isAnytime: anytime, startsAnytime, hasEpochs, anytime: content.anytime, whole: this, isEveryEpoch: false });
    this.columns = content.columns;
    this.hypervolume = content.hypervolume;
    this.revision = content.revision || 0;
    this.server = content.server;
    this.byTrial = new Map([...earlier, ...content.designs].map((design) => [design.trial, design]));
    this.designs = [...this.byTrial.values()].sort((a, b) => a.trial - b.trial);
    for (const design of this.designs) design.key = design.trial;
    this.byKey = this.byTrial;
    this.measured = this.designs.filter((d) => d.values);
    this.objectives = this.names.map((objective) => this.column(objective));
    this.allDimensions = [...new Set(this.designs.flatMap((d) => Object.keys(d.design)))];
    for (const { design } of this.designs) for (const key of this.allDimensions) design[key] ??= false; // a switch that is left out is off
    this.dimensions = this.allDimensions.filter((key) => new Set(this.designs.map((d) => d.design[key])).size > 1);
  }

  // The study after what changed in it. Another server has other revisions, so that it sends everything.
  after(content) {
    return new Study(content, content.server === this.server ? this.designs : []);
  }

  // The same study in the anytime view, made when it is first shown.
  get everyEpoch() {
    this.points ??= everyEpochOf(this);
    return this.points;
  }

  // What names a design of this view: its trial; in the anytime view the point that a run has reached after an epoch, by default the last.
  keyAt(trial, epoch = Infinity) {
    if (!this.isEveryEpoch || trial === undefined) return trial;
    return this.of(trial).findLast(({ stop_after: stop }) => stop <= epoch)?.key ?? trial;
  }

  // The design of a trial; in the anytime view all its points.
  of(trial) {
    if (this.isEveryEpoch) return this.runs.get(trial) ?? [];
    return this.byTrial.has(trial) ? [this.byTrial.get(trial)] : [];
  }

  // What a state of a run or a design is called.
  stateWord(state) {
    return state === 'interrupted' && this.isAnytime ? 'paused' : state;
  }

  column(name) {
    return this.columns.find((c) => c.name === name);
  }
}
