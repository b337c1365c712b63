// The anytime view: each number of epochs after which a run may be stopped is a design of its own, here a point.
// A packed value is the same for all points of a design, or a list in the order of its stops.
const unpacked = (value, k) => (Array.isArray(value) ? value[k] : value) ?? undefined;

// After which of its epochs a run is stopped, in words.
function stoppedText(stop, all) {
  if (stop === all) return stop > 1 ? `, all ${stop} epochs` : ', the only epoch';
  return `, stop after epoch ${stop} of ${all}`;
}

// The points of a design, those with fewer epochs first; without an epoch, the design alone, which has no values.
function pointsOf(design, { epochs, errors }) {
  const { trial, label, state, reason, note, starred, points } = design;
  const shared = { trial, state, reason, note, starred, design: design.design };
  if (!points) return [{ ...shared, key: trial, label, seeds: 0, on_front: false }];
  const names = Object.keys(points.values);
  return points.stops.map((stop, k) => {
    const probability = unpacked(points.probability, k);
    const own = {
      key: `${trial}-${stop}`, // no number, as that of a whole design is
      stop_after: stop,
      epochs_in_all: epochs,
      name: label,
      label: label + stoppedText(stop, epochs),
      seeds: unpacked(points.seeds, k),
      on_front: Boolean(unpacked(points.front, k)),
      values: Object.fromEntries(names.map((name) => [name, unpacked(points.values[name], k)])),
      errors: errors[unpacked(points.errors, k)],
      probability,
      tied: probability > OUT && probability < SURE,
      test_acc: unpacked(points.test_acc, k),
      weights: unpacked(points.weights, k),
      time_estimated: Boolean(unpacked(points.time_estimated, k)),
      isCut: Boolean(unpacked(points.cut, k)), // it ends before its learning rate has come down
    };
    return Object.assign(own, shared);
  });
}

// A study in the anytime view: what is not of this view is that of the study.
function everyEpochOf(whole) {
  const { summary, notes, columns, hypervolume } = whole.anytime;
  const designs = whole.designs.flatMap((design) => pointsOf(design, whole.anytime));
  const study = Object.assign(Object.create(whole), { whole, isEveryEpoch: true, summary, notes, columns, hypervolume, designs });
  study.objectives = whole.names.map((name) => study.column(name));
  study.byKey = new Map(designs.map((design) => [design.key, design]));
  study.measured = designs.filter((design) => design.values);
  study.runs = Map.groupBy(study.measured, (design) => design.trial);
  return study;
}

// Whether the state asks for the anytime view, and whether it can be shown now.
const wantsEveryEpoch = ({ study, epochs }) => study.hasEpochs && (epochs ? epochs === 'every' : study.startsAnytime);

function studyInView(state) {
  return wantsEveryEpoch(state) && state.study.anytime ? state.study.everyEpoch : state.study;
}

// Why a point is not what a shorter run would give; nothing where its learning rate has come down.
function earlyText({ isCut, design, stop_after: stop, epochs_in_all: all }) {
  if (!isCut) return '';
  const policy = String(design.lr_policy).split('(')[0];
  const whole = `over all ${all} epochs`;
  const spans = { 'one-cycle': whole, 'exp-decay': whole, 'fine-tune': `in the last steps of all ${all} epochs` };
  const span = spans[policy] ?? 'over each of its cycles';
  return `${policy} anneals ${span}: where a run stops early, the rate has not come down; a run of ${counted(stop, 'epoch')} in all is a design of its own`;
}

// The number of a design, and its epochs in the anytime view, in short.
const shortName = ({ trial, stop_after: stop }) => (stop === undefined ? String(trial) : `${trial}@${stop}`);
const countedDesigns = (n, isEveryEpoch, which = '') => (
  isEveryEpoch ? counted(n, 'design and epoch', 'designs and epochs') : counted(n, `${which}design`)
);
