// Colors, fonts and shapes that all plots have.
const PALETTE = ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#8C6D31', '#7F7F7F'];
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
const TEXT_SIZE = 11; // px, of what stands in a plot

// What `draw` gives in the light theme. It must not wait for anything: the page goes back to its own theme at once.
function inLightTheme(draw) {
  const root = document.documentElement;
  const { theme } = root.dataset;
  root.dataset.theme = 'light';
  try {
    return draw();
  } finally {
    root.dataset.theme = theme;
  }
}

const ruler = document.createElement('canvas').getContext('2d');

// The width of a text in a plot, in px.
function widthOf(text, { size = TEXT_SIZE, weight = 400 } = {}) {
  ruler.font = `${weight} ${size}px ${FONT}`;
  return ruler.measureText(text).width;
}

// The text, cut with an ellipsis to a width in px.
function fitted(text, width, style) {
  if (widthOf(text, style) <= width) return text;
  let [low, high] = [0, text.length]; // as many letters fit, and do not
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (widthOf(`${text.slice(0, middle)}…`, style) <= width) low = middle;
    else high = middle;
  }
  return low ? `${text.slice(0, low).trimEnd()}…` : '';
}

// Outlines around a point, as the data of an SVG path after its M; `r` is half of the size in px.
const SHAPES = {
  circle: (r) => `m${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  diamond: (r) => `m0 ${-r}l${r} ${r}l${-r} ${r}l${-r} ${-r}z`,
  square: (r) => `m${-r} ${-r}h${2 * r}v${2 * r}h${-2 * r}z`,
};
const outline = (shape, r, x = 0, y = 0) => `M${x.toFixed(1)} ${y.toFixed(1)}${SHAPES[shape](r)}`;

const polyline = (points) => points.map(([x, y], k) => `${k ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`).join('');
