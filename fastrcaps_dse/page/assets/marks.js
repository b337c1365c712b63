// The designs of the scatter: in groups, and how each group is marked.
const MARKS = ['selected', 'hover', 'pick']; // they mark single designs, above all groups
const SYMBOLS = { diamond: '◆', 'diamond-open': '◇', 'circle-open': '○', circle: '●', square: '■' };
const MANY = 500; // designs, from which only those on the front have error bars

// Each measured design is in the first group whose test it passes.
const GROUPS = [
  { key: 'outside', name: 'outside the ranges', test: (d, app) => !app.admits(d) },
  { key: 'dominated', name: 'dominated', test: (d) => !d.on_front && !d.tied && !d.pruned_after },
  { key: 'pruned', name: 'pruned', test: (d) => d.pruned_after && !d.on_front },
  { key: 'tied', name: 'tied with the front', test: (d) => d.tied && !d.on_front },
  { key: 'front', name: 'Pareto front', test: (d) => d.on_front },
];

function groupsOf(app) {
  const groups = GROUPS.map(({ key, name }) => ({ key, name, designs: [] }));
  for (const design of app.study.measured) groups[GROUPS.findIndex(({ test }) => test(design, app))].designs.push(design);
  return groups;
}

// How a group or a mark looks; `size` is half of its width in px where there are few designs.
function styleOf(key) {
  return {
    outside: { size: 2.5, color: css('rest'), opacity: 0.15, symbol: 'circle' },
    dominated: { size: 3.2, color: css('rest'), opacity: 0.7, symbol: 'circle' },
    pruned: { size: 3.2, color: css('rest'), opacity: 0.7, symbol: 'circle-open' },
    tied: { size: 4.5, color: css('front'), opacity: 0.9, symbol: 'diamond-open' },
    front: { size: 5.5, color: css('front'), opacity: 1, symbol: 'diamond' },
    selected: { size: 8, color: css('ink'), opacity: 1, symbol: 'circle-open' },
    hover: { size: 9, color: css('ink'), opacity: 1, symbol: 'square-open' },
    pick: { size: 6.5, color: css('pick'), opacity: 1, symbol: 'square' },
  }[key];
}

// The same with shape and outline told apart, for a group of so many designs: where there are many, they are smaller and paler.
function flatStyle(key, count = 1) {
  const { size, color, opacity, symbol } = styleOf(key);
  const [shape, isOpen] = [symbol.split('-')[0], symbol.endsWith('open')];
  const isFront = key === 'front';
  const shrink = count > 3000 && !isFront ? 0.5 : count > 400 ? 0.8 : 1;
  return { radius: size * shrink, shape, isOpen, color, opacity: opacity * (count > 3000 && !isFront ? 0.6 : 1), line: isOpen ? 2 : 1 };
}

// A mark as an SVG path at a place.
function markNode(key, { x, y }, trial, scale = 1) {
  const { radius, shape, isOpen, color, line } = flatStyle(key);
  const paint = isOpen ? { fill: 'none', stroke: color, 'stroke-width': line } : { fill: color, stroke: css('ground'), 'stroke-width': 1 };
  return svg('path', { d: outline(shape, key === 'selected' ? scale * radius : radius, x, y), class: 'single', 'data-mark': key, 'data-trial': trial, ...paint });
}

// One mark as a picture, to be stamped many times.
function stampOf({ radius, shape, isOpen, color, line }, scale) {
  const side = Math.ceil(2 * (radius + line + 1) * scale);
  const canvas = element('canvas', { width: side, height: side });
  const context = canvas.getContext('2d');
  context.setTransform(scale, 0, 0, scale, side / 2, side / 2);
  context.strokeStyle = isOpen ? color : css('ground');
  context.lineWidth = line;
  context.fillStyle = color;
  const path = new Path2D(outline(shape, radius));
  if (!isOpen) context.fill(path);
  if (isOpen || radius > 3) context.stroke(path);
  return canvas;
}

// Stamp marks on a canvas that has `scale` pixels for each px. `points` has x and y in turn.
function stamp(context, style, points, scale) {
  const picture = stampOf(style, scale);
  context.globalAlpha = style.opacity;
  for (let k = 0; k < points.length; k += 2) {
    context.drawImage(picture, Math.round(points[k] * scale - picture.width / 2), Math.round(points[k + 1] * scale - picture.height / 2));
  }
}

// The same marks as one SVG path.
function stampedPath({ radius, shape, isOpen, color, opacity, line }, points) {
  let d = '';
  for (let k = 0; k < points.length; k += 2) d += outline(shape, radius, points[k], points[k + 1]);
  const paint = isOpen ? { fill: 'none', stroke: color, 'stroke-width': line } : { fill: color, stroke: radius > 3 ? css('ground') : 'none' };
  return svg('path', { d, opacity, ...paint });
}

// What is said of a design beside the pointer.
function tipLines(design, columns) {
  const lines = columns.map((c) => {
    const error = kindOf(c.name) === 'acc' ? ` (error ${formatValue('acc', 100 - design.values[c.name])})` : '';
    return `${c.title}: ${valueText(design, c.name)}${error}`;
  });
  if (design.probability !== undefined) {
    lines.push(`P(on the front): ${design.probability.toFixed(2)}, ${counted(design.seeds, 'seed')}`);
  }
  if (design.time_estimated) lines.push(`${ESTIMATED} estimated time`);
  if (design.pruned_after) lines.push(`pruned after ${counted(design.pruned_after, 'epoch')}`);
  return [design.name ?? design.label, ...(design.stop_after === undefined ? [] : [stoppedText(design.stop_after, design.epochs_in_all).slice(2)]), `trial ${design.trial}${design.on_front ? ', on the Pareto front' : ''}`, ...lines];
}
