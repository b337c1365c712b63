// Axes of plots: which numbers they show, where their ticks are, and what these say.
const STEPS = [1, 2, 2.5, 5, 10];
const WHOLE_STEPS = [1, 2, 5, 10];
const LOG_FACTORS = [[1, 1.5, 2, 3, 4, 6, 8], [1, 2, 3, 5], [1, 2, 5], [1, 3], [1]]; // of a power of ten, the most first
const MOST_LOG_TICKS = 8;
const MARGIN = 0.05; // of the range, on each side

const toDigits = (value) => Number(value.toPrecision(10));

// Round numbers from `low` to `high`, at most about as many as asked for.
function linearTicks(low, high, most, isWhole = false) {
  const raw = Math.max((high - low) / Math.max(1, most), isWhole ? 1 : 1e-12);
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = unit * (isWhole ? WHOLE_STEPS : STEPS).find((factor) => factor * unit >= raw * (1 - 1e-9));
  const [first, last] = [Math.ceil(low / step - 1e-6), Math.floor(high / step + 1e-6)];
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, k) => toDigits((first + k) * step));
}

// Round numbers on a logarithmic axis from `low` to `high`, which are positive: as many as have room, and no more than can be read.
function logTicks(low, high, most) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.floor(Math.log10(high))];
  const powers = Array.from({ length: last - first + 1 }, (_, k) => first + k);
  const inside = (value) => value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9);
  const room = Math.min(most, MOST_LOG_TICKS);
  for (const factors of LOG_FACTORS) {
    const found = powers.flatMap((power) => factors.map((factor) => toDigits(factor * 10 ** power))).filter(inside);
    if (found.length >= Math.min(3, most) && found.length <= room) return found;
  }
  const decades = powers.map((power) => 10 ** power).filter(inside);
  if (decades.length > room) return decades.filter((_, k) => k % Math.ceil(decades.length / room) === 0);
  return linearTicks(low, high, Math.max(2, room - 1)).filter((value) => value > 0);
}

// A number as a tick says it: 6.7M, 0.0005, 5e-05.
function numberText(value) {
  const size = Math.abs(value);
  if (size >= 1e4) {
    const [unit, letter] = [[1e9, 'G'], [1e6, 'M'], [1e3, 'k']].find(([limit]) => size >= limit);
    return `${toDigits(value / unit)}${letter}`;
  }
  return size && size < 1e-4 * (1 - 1e-9) ? value.toExponential().replace(/e([+-])(\d)$/, 'e$10$2') : String(toDigits(value));
}

class Axis {
  // `map` turns a value into the number that the axis shows; `values` are those that it must hold. `limit` is the largest number of a
  // tick. `special` has ticks with a text of their own, as pairs of number and text. `only` has the sole numbers that may be ticks.
  constructor({ title, better = '', isLog = false, isWhole = false, map = (v) => v, limit = Infinity, special = [], only = null, margin = MARGIN }, values) {
    Object.assign(this, { title, better, isLog, isWhole, map, limit, special, only });
    const places = [];
    for (const value of values) {
      const place = this.at(value);
      if (Number.isFinite(place)) places.push(place);
    }
    for (const [value] of special) places.push(this.place(value));
    const [low, high] = places.reduce(([a, b], p) => [Math.min(a, p), Math.max(b, p)], [Infinity, -Infinity]);
    if (low > high) [this.low, this.high] = [0, 1];
    else {
      const room = high > low ? margin * (high - low) : (isLog ? 0.1 : Math.max(0.5, Math.abs(low) * 0.02));
      [this.low, this.high] = [low - room, high + room];
    }
  }

  // Where a number stands on the axis, in its own measure: logarithms to base 10 where it is logarithmic.
  place(number) {
    return this.isLog ? Math.log10(number) : number;
  }

  at(value) {
    return this.place(this.map(value));
  }

  // The numbers of `only` in a range, without those too near to the one before.
  spaced(low, high, most) {
    const found = [];
    for (const number of this.only.toSorted((a, b) => a - b)) {
      const at = this.place(number);
      const isApart = !found.length || at - found.at(-1).at >= (high - low) / (most + 1);
      if (isApart && at >= low && at <= high) found.push({ at, text: numberText(number) });
    }
    return found;
  }

  ticks(low, high, most) {
    if (this.only) return this.spaced(low, high, most);
    const numbers = this.isLog ? logTicks(10 ** low, 10 ** high, most) : linearTicks(low, high, most, this.isWhole);
    const special = this.special.map(([number, text]) => ({ at: this.place(number), text }));
    const apart = (high - low) / (most + 2);
    const usual = numbers.filter((number) => number <= this.limit).map((number) => ({ at: this.place(number), text: numberText(number) }));
    const kept = usual.filter(({ at }) => special.every((other) => Math.abs(other.at - at) > apart));
    return [...kept, ...special.filter(({ at }) => at >= low && at <= high)];
  }
}

// Seconds in the unit that suits the largest of them.
function secondsUnit(largest) {
  if (largest <= 1000) return [1, 's'];
  return largest <= 3 * 3600 ? [60, 'min'] : [3600, 'h'];
}

// Errors (%) of accuracies: a logarithm has no 0, so an accuracy of 100 % stands at the lower end, which says "0".
function errorMap(values) {
  const errors = values.map((acc) => 100 - acc).filter((error) => error > 0);
  const floor = Math.min(smallest(errors), 1) / 2;
  return { map: (acc) => Math.max(100 - acc, floor), special: values.some((acc) => acc >= 100) ? [[floor, '0']] : [] };
}

const accuracyTitle = (isError) => (isError ? 'error: 100 − accuracy (%)' : 'accuracy (%)');

// The axis of a column of the study. `values` are those that it must hold.
function columnAxis(column, values, isError) {
  const { name, title, unit, direction } = column;
  const kind = kindOf(name);
  const better = direction === 'maximize' ? 'more' : 'less';
  if (kind === 'acc' && isError) return new Axis({ title: accuracyTitle(true), better: 'less', isLog: true, ...errorMap(values) }, values);
  if (isPercent(name)) return new Axis({ title: kind === 'acc' ? accuracyTitle(false) : `${title} (${unit})`, better, limit: 100 }, values);
  if (kind === 'time' || kind === 'time_to') {
    const reached = values.filter((value) => value < NEVER);
    const largest = Math.max(greatest(reached), 1e-9);
    const [factor, text] = secondsUnit(largest);
    const never = (largest / factor) * 1.5; // beyond all others
    return new Axis({
      title: `${title} (${text})`, better, isLog: column.log, map: (value) => (value >= NEVER ? never : value / factor),
      special: reached.length < values.length ? [[never, 'never']] : [],
    }, reached);
  }
  const hasUnit = unit && !title.includes(unit) && kind !== 'params';
  return new Axis({ title: hasUnit ? `${title} (${unit})` : title, better, isLog: column.log, isWhole: kind === 'epochs' }, values);
}

// The axis of epochs, from `first` to `last`.
const epochAxis = (first, last) => new Axis({ title: 'epoch', isWhole: true, margin: 0.02 }, [first, last]);
