// What the pointer does on a plot: it says what lies under it, selects, and zooms.
const NEAR = 14; // px, from which the pointer finds a mark
const DRAG = 5; // px, from which a press is no click any more

// The text beside the pointer: lines, of which the first is the head.
const tip = {
  show(lines, event) {
    const node = $('tip');
    node.replaceChildren(...lines.map((text, k) => element(k ? 'div' : 'strong', { textContent: text })));
    node.hidden = false;
    const { width, height } = node.getBoundingClientRect();
    const left = event.clientX + 16 + width < innerWidth ? event.clientX + 16 : event.clientX - 16 - width;
    node.style.left = `${Math.max(4, left)}px`;
    node.style.top = `${Math.max(4, Math.min(event.clientY + 12, innerHeight - height - 4))}px`;
  },
  hide() {
    $('tip').hidden = true;
  },
};
addEventListener('keydown', (event) => { if (event.key === 'Escape') tip.hide(); });
addEventListener('scroll', () => tip.hide(), { passive: true });

// Follow the pointer on a node. `acts.hover(place, event)` gets its place in px, or null; `acts.click(place)` a click; `acts.zoom(from, to)`
// a rectangle; `acts.reset()` a double click. A finger scrolls the page, so it does not zoom.
function followPlot(node, acts) {
  const placeOf = (event) => {
    const box = node.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const rubber = element('div', { className: 'rubber', hidden: true });
  node.append(rubber);
  let isPressed = false;
  node.addEventListener('pointermove', (event) => { if (!isPressed) acts.hover(placeOf(event), event); });
  node.addEventListener('pointerleave', (event) => acts.hover(null, event));
  node.addEventListener('dblclick', (event) => { if (!event.target.closest('button')) acts.reset(); });
  node.addEventListener('pointerdown', (event) => {
    if (event.button !== 0 || event.target.closest('button')) return;
    isPressed = true;
    const from = placeOf(event);
    const isDrag = (to) => event.pointerType !== 'touch' && Math.hypot(to[0] - from[0], to[1] - from[1]) >= DRAG;
    const move = (later) => {
      const to = placeOf(later);
      rubber.hidden = !isDrag(to);
      const [left, top] = [0, 1].map((k) => Math.min(from[k], to[k]));
      const [width, height] = [0, 1].map((k) => Math.abs(to[k] - from[k]));
      Object.assign(rubber.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
    };
    const end = (later) => {
      for (const [kind, act] of [['pointermove', move], ['pointerup', end], ['pointercancel', end]]) removeEventListener(kind, act);
      isPressed = false;
      rubber.hidden = true;
      if (later.type === 'pointercancel') return;
      const to = placeOf(later);
      if (!isDrag(to)) acts.click(to);
      else if (Math.abs(to[0] - from[0]) >= DRAG && Math.abs(to[1] - from[1]) >= DRAG) acts.zoom(from, to);
    };
    for (const [kind, act] of [['pointermove', move], ['pointerup', end], ['pointercancel', end]]) addEventListener(kind, act);
  });
}

// The nearest of places `{ x, y }` in px, if it is near.
function nearestOf(places, [x, y], near = NEAR) {
  let best = null;
  let distance = near * near;
  for (const place of places) {
    const away = (place.x - x) ** 2 + (place.y - y) ** 2;
    if (away <= distance) [best, distance] = [place, away];
  }
  return best;
}

// Draw again, a moment later, whenever a node has another size.
function onResize(node, draw) {
  let timer = null;
  let earlier = '';
  new ResizeObserver(() => {
    const size = `${node.clientWidth} ${node.clientHeight}`;
    if (size === earlier || !node.clientWidth) return;
    if (earlier) {
      clearTimeout(timer);
      timer = setTimeout(draw, 60);
    }
    earlier = size;
  }).observe(node);
}
