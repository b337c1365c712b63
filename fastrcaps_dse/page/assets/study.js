// A study as the server or the file gives it. It never changes: what is new makes another one.
class Study {
  // `content` holds the study with all its designs, or only those that changed since `earlier` ones.
  constructor(content, earlier = []) {
    const { name, summary, notes, objectives, command, facts, workers, export: exportCommand } = content.study;
    Object.assign(this, { name, summary, notes, command, facts, workers, exportCommand, names: objectives });
    this.columns = content.columns;
    this.hypervolume = content.hypervolume;
    this.revision = content.revision || 0;
    this.server = content.server;
    this.byTrial = new Map([...earlier, ...content.designs].map((design) => [design.trial, design]));
    this.designs = [...this.byTrial.values()].sort((a, b) => a.trial - b.trial);
    this.measured = this.designs.filter((d) => d.values);
    this.objectives = this.names.map((objective) => this.column(objective));
    this.allDimensions = this.designs.length ? Object.keys(this.designs[0].design) : [];
    this.dimensions = this.allDimensions.filter((key) => new Set(this.designs.map((d) => d.design[key])).size > 1);
  }

  // The study after what changed in it. Another server has other revisions, so that it sends everything.
  after(content) {
    return new Study(content, content.server === this.server ? this.designs : []);
  }

  column(name) {
    return this.columns.find((c) => c.name === name);
  }
}
