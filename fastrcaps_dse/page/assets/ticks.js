// Round values along an axis of the parallel view.
const TIMES = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 600, 900, 1200, 1800, 2700, 3600, 5400,
  7200, 10800, 18000, 36000, 72000, 180000, 360000]; // s
const isTime = (name) => ['time', 'time_to'].includes(kindOf(name));

// Multiples of 1, 2 or 5 times a power of ten: about `count` of them from `low` to `high`.
function evenTicks(low, high, count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  return steps([1, 2, 5, 10].find((k) => k * power >= 0.75 * raw) * power, low, high);
}

// The multiples of a step from `low` to `high`; none without a step.
function steps(step, low, high) {
  if (!step) return [];
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, k) => Number(((first + k) * step).toPrecision(12)));
}

// On a logarithmic axis: 1, 2, 5 of each power of ten over a wide range, else even steps.
function unevenTicks(low, high, count) {
  if (high / low < 6) return evenTicks(low, high, count);
  const powers = Array.from({ length: Math.ceil(Math.log10(high / low)) + 2 }, (_, k) => 10 ** (Math.floor(Math.log10(low)) + k));
  const found = powers.flatMap((power) => [1, 2, 5].map((k) => Number((k * power).toPrecision(12)))).filter((v) => v >= low && v <= high);
  return found.length > 1.5 * count ? found.filter((v) => Number.isInteger(Math.log10(v))) : found;
}

// About `count` round values from `low` to `high`; both ends where no two of these lie between.
function ticksOf({ name, log }, low, high, count) {
  if (!(high > low)) return [low];
  if (isTime(name)) {
    const times = log ? TIMES.filter((v) => v >= low && v <= high) : steps(TIMES.find((v) => (high - low) / v <= count), low, high);
    if (times.length >= (log ? 3 : 2)) return times;
  }
  const found = log && low > 0 ? unevenTicks(low, high, count) : evenTicks(low, high, count);
  return found.length > 1 ? found : [low, high];
}

// The text of a round value.
function tickText(name, value) {
  if (isTime(name) && value < NEVER) {
    for (const [seconds, unit] of [[3600, 'h'], [60, 'min']]) {
      const parts = value / seconds;
      if (parts >= 1 && (Number.isInteger(parts) || (parts < 10 && Number.isInteger(2 * parts)))) return `${parts} ${unit}`;
    }
    if (value < 100) return `${significant(value, 3)} s`;
  }
  if (kindOf(name) === 'acc') return `${significant(value, 5)} %`;
  if (['params', 'macs'].includes(kindOf(name)) && value >= 1e6) return `${significant(value / 1e6, 4)}M`;
  return formatValue(name, value);
}
