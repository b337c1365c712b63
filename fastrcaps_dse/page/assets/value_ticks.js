// Ticks that have their unit with them, for axes without a title that says it: those of the parallel view and of small charts.
const TIMES = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 600, 900, 1200, 1800, 2700, 3600, 5400,
  7200, 10800, 18000, 36000, 72000, 180000, 360000]; // s
const isTime = (name) => ['time', 'time_to'].includes(kindOf(name));

// The multiples of a step from `low` to `high`; none without a step.
function multiples(step, low, high) {
  if (!step) return [];
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, k) => Number(((first + k) * step).toPrecision(12)));
}

// About `count` round values from `low` to `high`; both ends where no two of these lie between.
function ticksOf({ name, log }, low, high, count) {
  if (!(high > low)) return [low];
  if (isTime(name)) {
    const times = log ? TIMES.filter((v) => v >= low && v <= high) : multiples(TIMES.find((v) => (high - low) / v <= count), low, high);
    if (times.length >= (log ? 3 : 2)) return times;
  }
  const found = log && low > 0 ? logTicks(low, high, count) : linearTicks(low, high, count, kindOf(name) === 'epochs');
  return found.length > 1 ? found : [low, high];
}

// The text of a round value.
function valueTick(name, value) {
  if (isTime(name) && value < NEVER) {
    for (const [seconds, unit] of [[3600, 'h'], [60, 'min']]) {
      const parts = value / seconds;
      if (parts >= 1 && (Number.isInteger(parts) || (parts < 10 && Number.isInteger(2 * parts)))) return `${parts} ${unit}`;
    }
    if (value < 100) return `${significant(value, 3)} s`;
  }
  if (isPercent(name)) return `${significant(value, 5)} %`;
  if (['params', 'macs'].includes(kindOf(name)) && value >= 1e6) return `${significant(value / 1e6, 4)}M`;
  return formatValue(name, value);
}
