// The pick and its reasons, as picks.py gives them. The tests compare both on the same studies.
const superlative = (name, isEveryEpoch) => (isEveryEpoch ? ANYTIME_SUPERLATIVES : SUPERLATIVES)[name] || `fastest to ${name.split(':')[1]} %`;
const signOf = (limit) => (limit.bound === 'max' ? '<=' : '>=');
const limitLine = (limit) => `${limit.objective} ${signOf(limit)} ${formatValue(limit.objective, limit.value)}`;
const admits = (limit, value) => (limit.bound === 'max' ? value <= limit.value : value >= limit.value);
const boundOf = (column) => (column.direction === 'maximize' ? 'min' : 'max');
const costOf = (objectives, { values }) => objectives.map(({ name, direction }) => (
  direction === 'maximize' ? -values[name] : values[name]
));

function dominates(a, b) {
  let better = false;
  for (let k = 0; k < a.length; k += 1) {
    if (a[k] > b[k]) return false;
    if (a[k] < b[k]) better = true;
  }
  return better;
}

// Indices of the non-dominated points, in their order; of equal points, all.
function frontOf(points) {
  const order = points.map((_, k) => k).sort((a, b) => compare(points[a], points[b]));
  const members = [];
  for (const k of order) if (!members.some((m) => dominates(points[m], points[k]))) members.push(k);
  return members.sort((a, b) => a - b);
}

function compare(a, b) {
  for (let k = 0; k < a.length; k += 1) if (a[k] !== b[k]) return a[k] - b[k];
  return 0;
}

function least(items, key) {
  let best = null;
  let lowest = null;
  for (const item of items) {
    const value = key(item);
    if (lowest === null || compare(value, lowest) < 0) [best, lowest] = [item, value];
  }
  return best;
}

function kneeOf(members, cost) {
  const costs = members.map(cost);
  const low = costs[0].map((_, k) => smallest(costs.map((c) => c[k])));
  const span = costs[0].map((_, k) => greatest(costs.map((c) => c[k])) - low[k]);
  return least(members, (m) => [cost(m).reduce((sum, c, k) => sum + ((c - low[k]) / (span[k] > 0 ? span[k] : 1)) ** 2, 0)]);
}

// Whether the candidates are designs whose runs stop after some of their epochs.
const isOfEpochs = (candidates) => candidates.some((c) => c.stop_after !== undefined);

class Question {
  constructor(candidates, objectives, limits, prefer) {
    Object.assign(this, { candidates, objectives, limits, prefer, isEveryEpoch: isOfEpochs(candidates) });
    this.costs = new Map();
  }

  cost(design) {
    if (!this.costs.has(design)) this.costs.set(design, costOf(this.objectives, design));
    return this.costs.get(design);
  }

  fitting() {
    this.fits ||= this.candidates.filter((c) => this.limits.every((limit) => admits(limit, c.values[limit.objective])));
    return this.fits;
  }

  members() {
    if (!this.front) {
      const fitting = this.fitting();
      this.front = frontOf(fitting.map((c) => this.cost(c))).map((k) => fitting[k]);
    }
    return this.front;
  }

  order(design) {
    const index = this.objectives.findIndex((o) => o.name === this.prefer);
    const cost = this.cost(design);
    return [cost[index], ...cost.filter((_, k) => k !== index)];
  }

  preferred() {
    const members = this.members();
    if (!members.length) return null;
    return this.prefer === 'knee' ? kneeOf(members, (m) => this.cost(m)) : least(members, (m) => this.order(m));
  }

  answer() {
    const first = this.preferred();
    if (!first || this.prefer === 'knee' || !first.errors || first.probability >= SURE) return first;
    const name = this.prefer;
    const equal = this.members().filter((c) => c.probability >= SURE && c.errors
      && Math.abs(c.values[name] - first.values[name]) <= 2 * Math.hypot(c.errors[name], first.errors[name]));
    return equal.length ? least(equal, (c) => this.order(c)) : first;
  }
}

function defaultPreference(objectives, limits) {
  const free = objectives.find((o) => limits.every((limit) => limit.objective !== o.name));
  return (free || objectives[0]).name;
}

// { design, why, nearest }: the picked design and why. If nothing satisfies the limits: null, why, and the nearest miss.
function pickOf(candidates, objectives, limits, prefer) {
  const question = new Question(candidates, objectives, limits, prefer || defaultPreference(objectives, limits));
  const chosen = question.answer();
  if (!chosen) return { design: null, why: whyNothing(candidates, limits), nearest: nearestMiss(candidates, limits) };
  return { design: chosen, why: why(chosen, question), nearest: null };
}

function why(chosen, question) {
  const { limits, prefer, candidates, objectives, isEveryEpoch } = question;
  const reason = prefer === 'knee' ? 'the knee of' : `the ${superlative(prefer, isEveryEpoch)} of`;
  const allowed = limits.length ? ` within ${limits.map(limitLine).join(', ')}` : '';
  const others = candidates.filter((c) => c !== chosen);
  const beaten = others.filter((c) => dominates(question.cost(chosen), question.cost(c))).length;
  const above = others.filter((c) => dominates(question.cost(c), question.cost(chosen))).length;
  const lines = [
    `${chosen.label} is ${reason} ${countedDesigns(question.fitting().length, isEveryEpoch, 'measured ')}${allowed}`,
    `it dominates ${beaten} of the other ${countedDesigns(others.length, isEveryEpoch)}, and `
      + (above ? `${countedDesigns(above, isEveryEpoch)} outside the limits dominate${above === 1 ? 's' : ''} it` : 'none dominates it'),
  ];
  if (chosen.probability !== undefined) {
    lines.push(`it is on the front with probability ${fixed(chosen.probability, 2)} (${counted(chosen.seeds, 'seed')})`);
    const first = question.preferred();
    const other = trade(chosen, first, objectives);
    if (first !== chosen) lines.push(`preferred to one within its noise that is less sure: ${other}`);
  }
  for (const limit of limits) {
    const without = new Question(candidates, objectives, limits.filter((l) => l !== limit), prefer).answer();
    lines.push(without && without !== chosen
      ? `${limitLine(limit)} binds: without it, ${trade(chosen, without, objectives)}` : `${limitLine(limit)} does not bind`);
  }
  objectives.forEach((objective, k) => {
    const own = question.cost(chosen)[k];
    const better = question.members().filter((c) => question.cost(c)[k] < own);
    if (better.length && objective.name !== prefer) {
      lines.push(`next in ${objective.name}: ${trade(chosen, least(better, (c) => [-question.cost(c)[k]]), objectives)}`);
    }
  });
  return lines;
}

function trade(chosen, other, objectives) {
  const parts = objectives.map(({ name }) => {
    const delta = other.values[name] - chosen.values[name];
    const size = isPercent(name) ? `${Math.abs(delta).toFixed(2)} points` : formatValue(name, Math.abs(delta));
    return `${name} ${delta ? (delta > 0 ? '+' : '-') + size : 'same'}`;
  });
  return `${other.label} (trial ${other.trial}): ${parts.join(', ')}`;
}

function whyNothing(candidates, limits) {
  if (!candidates.length) return ['the study has no finished design yet'];
  const lines = [`none of the ${countedDesigns(candidates.length, isOfEpochs(candidates), 'measured ')} satisfies ${limits.map(limitLine).join(', ')}`];
  for (const limit of limits) {
    const values = candidates.map((c) => c.values[limit.objective]);
    const best = limit.bound === 'max' ? smallest(values) : greatest(values);
    const value = formatValue(limit.objective, best);
    if (!admits(limit, best)) lines.push(`${limitLine(limit)}: the nearest measured value is ${value}`);
  }
  return lines;
}

function nearestMiss(candidates, limits) {
  const spans = limits.map((limit) => {
    const values = [...candidates.map((c) => c.values[limit.objective]), limit.value];
    return (greatest(values) - smallest(values)) || 1;
  });
  return least(candidates, (c) => [limits.reduce((sum, limit, k) => {
    const value = c.values[limit.objective];
    return sum + (admits(limit, value) ? 0 : Math.abs(value - limit.value) / spans[k]);
  }, 0)]);
}
