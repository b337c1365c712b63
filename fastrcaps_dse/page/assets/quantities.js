// Quantities as people read and write them: the functions of quantities.py, with its tables.
// What a quantity of this objective is written like: `time_to:98` like any `time_to`.
const kindOf = (name) => name.split(':')[0];

// Whether an objective counts seconds, so that its values belong to a device.
const isTimed = (name) => ['time', 'time_to', 'latency'].includes(kindOf(name));

// Whether an objective is a share of images.
const isPercent = (name) => PERCENT.includes(name);

// toFixed, but exact halves go to the even digit, as Python's do.
function fixed(value, digits) {
  const scaled = Math.abs(value) * 10 ** digits;
  const isHalf = Number.isInteger(value * 2 ** (digits + 1)) && scaled % 1 === 0.5;
  if (!isHalf) return value.toFixed(digits);
  return (Math.sign(value) * (2 * Math.round(scaled / 2)) / 10 ** digits).toFixed(digits);
}

function thousands(value, digits = 0) {
  const [whole, rest] = fixed(value, digits).split('.');
  return whole.replace(/\B(?=(\d{3})+$)/g, ',') + (rest ? `.${rest}` : '');
}

function significant(value, digits) {
  if (value === 0) return '0';
  const text = value.toPrecision(digits);
  const [mantissa, exponent] = text.split('e');
  const short = mantissa.includes('.') ? mantissa.replace(/\.?0+$/, '') : mantissa;
  return exponent ? `${short}e${exponent[0]}${exponent.slice(1).padStart(2, '0')}` : short;
}

function formatSeconds(seconds) {
  if (seconds < 99.5) return `${fixed(seconds, seconds >= 1 ? 1 : 2)} s`;
  const whole = Number(fixed(seconds, 0));
  if (Math.floor(whole / 60) < 60) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
  const minutes = Number(fixed(seconds / 60, 0));
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}

// `estimated` marks what counts seconds.
function formatValue(name, value, estimated = false) {
  const kind = kindOf(name);
  if (estimated && isTimed(name) && !(kind === 'time_to' && value >= NEVER)) return `${ESTIMATED} ${formatValue(name, value)}`;
  if (isPercent(name)) return `${fixed(value, 2)} %`;
  if (kind === 'time_to' && value >= NEVER) return 'not reached';
  if (kind === 'time' || kind === 'time_to') return formatSeconds(value);
  if (kind === 'latency' || kind === 'memory') return `${significant(value, 3)} ${UNITS[kind]}`;
  return value === Math.round(value) || value > 1000 ? thousands(value) : thousands(value, 1);
}

// The number that a text stands for, in the unit of the objective; null if the text is no such quantity.
function parseQuantity(name, text) {
  const kind = kindOf(name);
  const match = /^([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z%]*)$/.exec(text.trim());
  const factor = match && FACTORS[kind][match[2]];
  if (!match || factor === undefined) return null;
  const value = Number(match[1]) * factor;
  return Number.isFinite(value) && value >= 0 && !(isPercent(name) && value > 100) ? value : null;
}

const NOUNS = { time: 'time', time_to: 'time', latency: 'time', acc: 'accuracy', robust: 'accuracy', memory: 'size' };

// What a field holds: { quantity } is the text of a limit without its sign, empty if there is none; { wrong } says why it is none.
function readLimit(column, text) {
  const [, sign, rest] = /^([<>=≤≥]*)\s*(.*)$/s.exec(text.trim());
  const right = boundOf(column) === 'max' ? ['<=', '≤'] : ['>=', '≥'];
  if (sign && !right.includes(sign)) return { wrong: `Not a valid limit; use ${right[0]}` };
  if (!sign && !rest) return { quantity: '' };
  if (parseQuantity(column.name, rest) !== null) return { quantity: rest };
  const examples = EXAMPLES[kindOf(column.name)].slice(0, 2).map((example) => example.split(' ')[0]);
  return { wrong: `Not a valid ${NOUNS[kindOf(column.name)] || 'number'}; e.g. ${examples.join(', ')}` };
}

// A limit as text, with few digits. It is rounded outward, so that it admits every value that the exact limit admits.
function limitText(name, value, bound) {
  const kind = kindOf(name);
  const round = bound === 'max' ? Math.ceil : Math.floor;
  const cut = (x, digits) => {
    const unit = 10 ** (Math.floor(Math.log10(Math.max(Math.abs(x), 1e-12))) - digits + 1);
    return Number((round(x / unit - (bound === 'max' ? 1e-9 : -1e-9)) * unit).toPrecision(digits + 1));
  };
  if (isPercent(name)) return String(Math.min(100, cut(value, 4)));
  if (kind === 'params' || kind === 'macs') return value >= 1e6 ? `${cut(value, 3) / 1e6}M` : String(cut(value, 3));
  return `${cut(value, 3)}${UNITS[kind] ?? ''}`;
}

// The ends of many numbers: as arguments of one call, they would not fit on the stack.
const smallest = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
const greatest = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);

// A number with its noun: 1 run, 2 runs.
const counted = (n, noun, plural = `${noun}s`) => `${thousands(n)} ${n === 1 ? noun : plural}`;
