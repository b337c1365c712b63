// Where the numbers of trials stand in a plot, so that none covers a mark or another number.
const LABEL_HEIGHT = 12; // px
const LABEL_ROOM = 3400; // px² of a plot for each label
const MOST_LABELS = 60;
const AROUND = [[0, -1], [1, 0], [0, 1], [-1, 0], [0.8, -0.8], [0.8, 0.8], [-0.8, 0.8], [-0.8, -0.8]]; // directions, the best first
const RINGS = [0, 14, 28]; // px from the mark; farther out, a line leads to it

const collide = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
const boxAround = ({ x, y, radius }) => ({ left: x - radius, right: x + radius, top: y - radius, bottom: y + radius });

// The box of a label in a direction from its mark.
function labelBox({ x, y, radius, width }, [dx, dy], ring) {
  const away = radius + 2 + ring;
  const [middleX, middleY] = [x + dx * (away + width / 2), y + dy * (away + LABEL_HEIGHT / 2)];
  return { left: middleX - width / 2, right: middleX + width / 2, top: middleY - LABEL_HEIGHT / 2, bottom: middleY + LABEL_HEIGHT / 2 };
}

// The line that leads from a mark to its label in a ring farther out, as small boxes.
function leadBoxes({ x, y, radius }, { ring, box }) {
  if (!ring) return [];
  const [endX, endY] = [Math.max(box.left, Math.min(box.right, x)), Math.max(box.top, Math.min(box.bottom, y))];
  const length = Math.hypot(endX - x, endY - y);
  const count = Math.ceil((length - radius) / 4);
  return Array.from({ length: Math.max(0, count) }, (_, k) => {
    const share = (radius + 4 * k) / length;
    return boxAround({ x: x + share * (endX - x), y: y + share * (endY - y), radius: 1 });
  });
}

// Boxes for as many of the items `{ x, y, radius, text, weight, isNeeded }` as have room in a frame, the first first. A needed one has a
// box in any case. No label covers an item, another label or what leads to it; nor one of `others`, if it can do without.
function placedLabels(items, others, frame) {
  const most = Math.min(MOST_LABELS, Math.floor(((frame.right - frame.left) * (frame.bottom - frame.top)) / LABEL_ROOM));
  const taken = items.map((item) => boxAround(item));
  const faint = others.map((mark) => boxAround(mark));
  const placed = [];
  const inside = (box) => box.left > frame.left && box.right < frame.right && box.top > frame.top && box.bottom < frame.bottom;
  for (const item of items) {
    if (placed.length >= most && !item.isNeeded) break;
    const mark = { ...item, width: widthOf(item.text, { weight: item.weight }) + 2 };
    const spots = RINGS.flatMap((ring) => AROUND.map((direction) => ({ ring, box: labelBox(mark, direction, ring) })));
    const isFree = (spot, among) => inside(spot.box) && !among.some((other) => collide(spot.box, other))
      && !leadBoxes(mark, spot).some((step) => placed.some(({ box }) => collide(step, box)));
    const possible = spots.filter((spot) => isFree(spot, taken));
    const free = possible.find(({ box }) => !faint.some((other) => collide(box, other))) ?? possible[0];
    const spot = free ?? (item.isNeeded ? spots.find(({ box }) => inside(box)) : null);
    if (!spot) continue;
    taken.push(spot.box, ...leadBoxes(mark, spot));
    placed.push({ ...mark, ...spot });
  }
  return placed;
}

// A placed label as SVG, with the line that leads to its mark.
function labelNodes({ x, y, radius, ring, box, text, weight = 400, color }) {
  const [middleX, middleY] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
  const halo = { stroke: css('panel'), 'stroke-width': 3, 'paint-order': 'stroke', 'stroke-linejoin': 'round' };
  const place = { class: 'label', x: middleX, y: middleY + 4, 'text-anchor': 'middle', 'font-size': TEXT_SIZE, 'font-weight': weight };
  const label = svg('text', { ...place, ...halo, fill: color }, text);
  if (!ring) return [label];
  const [endX, endY] = [Math.max(box.left, Math.min(box.right, x)), Math.max(box.top, Math.min(box.bottom, y))];
  const share = radius / Math.max(radius, Math.hypot(endX - x, endY - y));
  const lead = { x1: x + share * (endX - x), y1: y + share * (endY - y), x2: endX, y2: endY };
  return [svg('line', { ...lead, stroke: css('faint'), 'stroke-width': 1 }), label];
}
