// The frame of a plot: its axes with ticks and titles, and where things stand in it.
const PADS = { top: 10, right: 14, tick: 6, line: 14 }; // px

// A range that is zoomed into, or else that of the axis.
const rangeOf = (axis, zoomed) => zoomed ?? [axis.low, axis.high];

class Frame {
  // `zoom` may have ranges of x and y, in the measures of the axes. `hasX` says whether ticks and title of x are drawn, `top` is the room
  // above, `mostY` bounds the ticks of y, `leastLeft` the room at the left.
  constructor({ width, height, x, y, zoom = {}, hasX = true, mostY = Infinity, top = PADS.top, leastLeft = 0 }) {
    Object.assign(this, { width, height, axes: { x, y }, hasX });
    this.ranges = { x: rangeOf(x, zoom.x), y: rangeOf(y, zoom.y) };
    this.top = top;
    this.bottom = height - (hasX ? 2 * PADS.line + PADS.tick + 4 : PADS.tick);
    this.ticksY = y.ticks(...this.ranges.y, Math.min(mostY, Math.max(2, Math.floor((this.bottom - this.top) / 34))));
    const widest = Math.max(...this.ticksY.map(({ text }) => widthOf(text)), 20);
    this.left = Math.max(leastLeft, Math.ceil(widest + PADS.tick + PADS.line + 8));
    this.right = width - PADS.right;
    this.ticksX = this.fittingTicks();
  }

  // As many ticks of x as have room side by side.
  fittingTicks() {
    let found = [];
    for (let most = Math.max(2, Math.floor((this.right - this.left) / 48)); most >= 1; most -= 1) {
      found = this.axes.x.ticks(...this.ranges.x, most).map(({ at, text }) => {
        const half = widthOf(text) / 2;
        return { at, text, middle: Math.min(this.x(at), this.width - half - 1), half };
      }).sort((a, b) => a.middle - b.middle);
      if (found.every((tick, k) => !k || tick.middle - tick.half > found[k - 1].middle + found[k - 1].half + 8)) break;
    }
    return found;
  }

  x(at) {
    const [low, high] = this.ranges.x;
    return this.left + ((at - low) / (high - low)) * (this.right - this.left);
  }

  y(at) {
    const [low, high] = this.ranges.y;
    return this.bottom - ((at - low) / (high - low)) * (this.bottom - this.top);
  }

  // The ranges of a rectangle in px.
  rangesOf([x0, y0], [x1, y1]) {
    const [lowX, highX] = this.ranges.x;
    const [lowY, highY] = this.ranges.y;
    const atX = (x) => lowX + ((x - this.left) / (this.right - this.left)) * (highX - lowX);
    const atY = (y) => lowY + ((this.bottom - y) / (this.bottom - this.top)) * (highY - lowY);
    return { x: [atX(Math.min(x0, x1)), atX(Math.max(x0, x1))], y: [atY(Math.max(y0, y1)), atY(Math.min(y0, y1))] };
  }

  holds(x, y, room = 0) {
    return x >= this.left - room && x <= this.right + room && y >= this.top - room && y <= this.bottom + room;
  }

  // The grid, which lies under everything.
  grid() {
    const line = (x1, y1, x2, y2) => svg('line', { x1, y1, x2, y2, stroke: css('line'), 'stroke-width': 1 });
    return [
      svg('rect', { x: this.left, y: this.top, width: this.right - this.left, height: this.bottom - this.top, fill: 'none', stroke: css('line') }),
      ...this.ticksX.map(({ at }) => line(this.x(at), this.top, this.x(at), this.bottom)),
      ...this.ticksY.map(({ at }) => line(this.left, this.y(at), this.right, this.y(at))),
    ];
  }

  // The ticks' texts, and the titles with an arrow to what is better.
  texts() {
    const style = { 'font-size': TEXT_SIZE, fill: css('ink') };
    const xs = this.hasX ? this.ticksX.map(({ middle, text }) => (
      svg('text', { ...style, class: 'tick', x: middle, y: this.bottom + PADS.tick + 10, 'text-anchor': 'middle' }, text)
    )) : [];
    const ys = this.ticksY.map(({ at, text }) => (
      svg('text', { ...style, class: 'tick', x: this.left - PADS.tick, y: this.y(at) + 4, 'text-anchor': 'end' }, text)
    ));
    return [...xs, ...ys, ...this.titles()];
  }

  titles() {
    const { x, y } = this.axes;
    const middle = { x: (this.left + this.right) / 2, y: (this.top + this.bottom) / 2 };
    const place = { x: PADS.line - 2, y: middle.y, transform: `rotate(-90 ${PADS.line - 2} ${middle.y})` };
    const titleX = this.hasX ? [this.title({ x: middle.x, y: this.height - 5 }, x, this.width - 12)] : [];
    return [...titleX, this.title(place, y, this.bottom - this.top + 8)];
  }

  // A title with an arrow to what is better, which stays where the text is cut. (On the turned title of y, right is up.)
  title(place, { title, better }, room) {
    const [head, tail] = [better === 'less' ? '← ' : '', better === 'more' ? ' →' : ''];
    const text = `${head}${fitted(title, room - widthOf(head + tail), {})}${tail}`;
    const node = svg('text', { ...place, class: 'title', 'text-anchor': 'middle', 'font-size': TEXT_SIZE, fill: css('faint') }, text);
    node.append(svg('title', {}, better ? `${title}; ${better} is better` : title));
    return node;
  }
}
