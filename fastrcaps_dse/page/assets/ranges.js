// The range of an axis of the parallel view: two handles for keys, pointers and readers of the screen, and fields to type it.
const FINE = 0.02; // of an axis of an objective: the step of a key
const COARSE = 0.1;
const ENDS = ['lower', 'upper'];

// Where a handle goes with a key, from a share of the way up the axis; undefined for other keys.
function shareAfter(key, share, step) {
  const page = Math.max(step, COARSE);
  const steps = { ArrowUp: step, ArrowRight: step, ArrowDown: -step, ArrowLeft: -step, PageUp: page, PageDown: -page };
  return { Home: 0, End: 1 }[key] ?? (key in steps ? share + steps[key] : undefined);
}

// The first or the last kind within a range; a number as it is.
function inward(axis, value, k) {
  if (!axis.isKinds) return value;
  return k ? Math.floor(value + 1e-6) : Math.ceil(value - 1e-6);
}

// Handles and grips, and what they do.
class RangeHandles {
  constructor(app, parallel) {
    Object.assign(this, { app, parallel });
    this.nodes = new Map(); // by axis and end: they stay, and with them the focus
  }

  // [the share of the way up the axis where the range begins, where it ends]; the whole axis without a range.
  shares(axis) {
    const range = this.app.state.ranges[axis.key];
    if (!range) return [0, 1];
    return range.map((v) => Math.max(0, Math.min(1, shareOf(axis, v)))).toSorted((a, b) => a - b);
  }

  // The handles of all axes, at their places.
  draw(axes) {
    const wanted = new Map(axes.flatMap((axis) => ['whole', ...ENDS].map((end, k) => [`${axis.key} ${end}`, [axis, k - 1]])));
    for (const [key, node] of this.nodes) {
      if (wanted.has(key)) continue;
      node.remove();
      this.nodes.delete(key);
    }
    return [...wanted].map(([key, [axis, k]]) => {
      if (!this.nodes.has(key)) this.nodes.set(key, k < 0 ? this.makeGrip(axis.key) : this.make(key, k));
      const node = this.nodes.get(key);
      if (k < 0) this.placeGrip(node, axis);
      else this.place(node, axis, k);
      return node;
    });
  }

  // The strip along an axis that is dragged. It stays, too: a finger's moves go to where it was put down.
  makeGrip(key) {
    const node = svg('rect', { class: 'grip', fill: 'transparent', width: 24, 'data-axis': key });
    noScroll(node);
    node.addEventListener('pointerdown', (event) => this.parallel.drag(this.parallel.axes.find((a) => a.key === key), event));
    return node;
  }

  placeGrip(node, axis) {
    const top = this.parallel.yOfShare(1);
    for (const [name, value] of Object.entries({ x: axis.x - 12, y: top - 8, height: this.parallel.yOfShare(0) - top + 16 })) {
      node.setAttribute(name, value);
    }
  }

  make(key, k) {
    const range = { 'aria-orientation': 'vertical', 'aria-valuemin': 0, 'aria-valuemax': 100 };
    const node = svg('path', { class: 'handle', role: 'slider', tabindex: 0, ...range });
    node.dataset.key = key;
    const axis = () => this.parallel.axes.find((a) => key === `${a.key} ${ENDS[k]}`);
    node.addEventListener('keydown', (event) => {
      const step = axis().isKinds ? 1 / Math.max(1, axis().high - axis().low) : FINE;
      const to = shareAfter(event.key, this.shares(axis())[k], step);
      if (to === undefined) return;
      event.preventDefault();
      this.move(axis(), k, to);
    });
    noScroll(node);
    node.addEventListener('pointerdown', (event) => this.drag(axis(), k, event));
    return node;
  }

  place(node, axis, k) {
    const share = this.shares(axis)[k];
    const y = this.parallel.yOfShare(share);
    const away = k ? -7 : 7; // the upper one points down, the lower one up
    node.setAttribute('d', `M${axis.x - 7} ${y + away}h14L${axis.x} ${y}Z`);
    node.setAttribute('pointer-events', axis.key in this.app.state.ranges ? 'all' : 'none'); // at the end of an axis, a range may be begun
    node.setAttribute('aria-label', `${axis.title}: ${ENDS[k]} end of the range`);
    node.setAttribute('aria-valuenow', Math.round(100 * share));
    node.setAttribute('aria-valuetext', axis.text(inward(axis, valueOfShare(axis, share), k)));
  }

  // Move an end of the range. A range over the whole axis is none.
  move(axis, k, to, dragging = false) {
    const shares = this.shares(axis);
    shares[k] = Math.max(k ? shares[0] : 0, Math.min(k ? 1 : shares[1], to));
    this.parallel.setRange(axis, shares[0] <= 1e-9 && shares[1] >= 1 - 1e-9 ? undefined : shares, dragging);
  }

  drag(axis, k, event) {
    event.preventDefault();
    event.target.focus();
    const track = (dragging) => (e) => this.move(axis, k, this.parallel.shareAt(e.clientY), dragging);
    followPointer(event, track(true), track(false));
  }
}

// A finger on this node does not scroll the page. The style touch-action alone does not hold for parts of a drawing everywhere.
function noScroll(node) {
  node.addEventListener('touchstart', (event) => event.preventDefault(), { passive: false });
}

// Follow a pointer that is down, a finger too, until it is let go.
function followPointer({ pointerId }, move, end) {
  const own = (act) => (event) => { if (event.pointerId === pointerId) act(event); };
  const listeners = { pointermove: own(move) };
  const stop = own((event) => {
    for (const [kind, listener] of Object.entries(listeners)) window.removeEventListener(kind, listener);
    end(event);
  });
  Object.assign(listeners, { pointerup: stop, pointercancel: stop });
  for (const [kind, listener] of Object.entries(listeners)) window.addEventListener(kind, listener);
}

// The ranges as fields, two for each axis. They are made when the part of the page is opened first.
class RangeFields {
  constructor(app, parallel) {
    Object.assign(this, { app, parallel });
    this.node = $('range-fields');
    this.node.addEventListener('toggle', () => this.draw());
  }

  draw() {
    if (!this.node.open) return;
    const place = this.node.lastElementChild;
    const { axes } = this.parallel;
    const key = JSON.stringify(axes.map((a) => [a.key, a.isKinds && a.ticks.map((k) => a.text(k))]));
    if (place.dataset.key !== key) place.replaceChildren(...axes.map((axis) => this.row(axis)));
    place.dataset.key = key;
    axes.forEach((axis) => ENDS.forEach((end, k) => this.show(axis, end, k)));
  }

  row(axis) {
    const fields = ENDS.map((end, k) => {
      const id = `range-${end}-${axis.key}`;
      const field = axis.isKinds
        ? element('select', { id }, ...axis.ticks.map((t) => new Option(axis.text(t), t)))
        : element('input', { id, type: 'text', autocomplete: 'off', size: 12 });
      field.addEventListener('change', () => this.read(axis.key));
      return element('label', {}, k ? ' to ' : ' from ', field);
    });
    const wrong = element('span', { className: 'wrong', id: `range-wrong-${axis.key}` });
    wrong.setAttribute('role', 'alert');
    const row = element('fieldset', {}, element('legend', { textContent: axis.title }), ...fields, wrong);
    return row;
  }

  // Fields that hold no valid range keep their texts, to be fixed.
  show(axis, end, k) {
    const field = $(`range-${end}-${axis.key}`);
    const range = this.app.state.ranges[axis.key];
    if (field === document.activeElement || field.closest('fieldset').dataset.wrong === 'true') return;
    if (axis.isKinds) field.value = inward(axis, (range ?? [axis.low, axis.high])[k], k);
    else {
      const last = k ? axis.high : axis.low;
      field.value = range && Math.abs(range[k] - last) > 1e-6 * Math.abs(last) ? axis.exact(range[k]) : '';
      field.placeholder = `${k ? 'most' : 'least'}: ${axis.text(last)}`;
    }
  }

  read(key) {
    const axis = this.parallel.axes.find((a) => a.key === key);
    const fields = ENDS.map((end) => $(`range-${end}-${key}`));
    const values = fields.map((field, k) => {
      if (axis.isKinds) return Number(field.value);
      return field.value.trim() ? axis.parse(field.value) : [-Infinity, Infinity][k];
    });
    const examples = axis.isKinds ? '' : EXAMPLES[kindOf(key)][0];
    const isReversed = values.every((v) => v !== null) && values[0] > values[1];
    values.forEach((v, k) => fields[k].setAttribute('aria-invalid', v === null || isReversed));
    const problem = isReversed ? 'Not a valid range; "from" is above "to".' : `Not a valid value; e.g. ${examples}.`;
    const isWrong = isReversed || values.includes(null);
    fields[0].closest('fieldset').dataset.wrong = isWrong;
    $(`range-wrong-${key}`).textContent = isWrong ? `${problem} This axis has no range now.` : '';
    const isWhole = values[0] <= axis.low && values[1] >= axis.high;
    const range = isWrong || isWhole ? undefined : values.map((v, k) => (Number.isFinite(v) ? v : [axis.low, axis.high][k]));
    this.app.update({ ranges: withKey(this.app.state.ranges, key, range) });
  }
}
