// The plots as files: in the light theme, on a ground, with a title and a legend.
const EDGE = 12; // px around what is saved
const ROW = 17; // px of a line of the legend

// The legend as SVG, in rows of a width in px, from y on: its nodes and its height.
function legendPicture(items, width, top) {
  const nodes = [];
  let [x, row] = [EDGE, 0];
  for (const { symbol, color, text } of items) {
    const shown = fitted(text, width - 2 * EDGE - 30, { size: 12 });
    const needed = widthOf(symbol, { size: 12 }) + 5 + widthOf(shown, { size: 12 }) + 16;
    if (x > EDGE && x + needed > width - EDGE) [x, row] = [EDGE, row + 1];
    const y = top + (row + 1) * ROW - 4;
    nodes.push(svg('text', { x, y, 'font-size': 12, fill: color }, symbol));
    nodes.push(svg('text', { class: 'legend', x: x + widthOf(symbol, { size: 12 }) + 5, y, 'font-size': 12, fill: css('ink') }, shown));
    x += needed;
  }
  return { nodes, height: items.length ? (row + 1) * ROW : 0 };
}

// A whole picture as SVG text: a title, parts `{ text, width, height }` one below the other, and a legend.
function composed(title, parts, items) {
  const width = Math.max(...parts.map((part) => part.width)) + 2 * EDGE;
  const nested = [];
  let y = EDGE + 24;
  for (const { text, height } of parts) {
    nested.push(`<g transform="translate(${EDGE} ${y})">${text}</g>`);
    y += height;
  }
  const legend = legendPicture(items, width, y + 4);
  const height = Math.ceil(y + legend.height + EDGE);
  const whole = svg('svg', { xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}`, 'font-family': FONT });
  const head = svg('text', { x: EDGE, y: EDGE + 12, 'font-size': 14, 'font-weight': 600, fill: css('ink') }, fitted(title, width - 2 * EDGE, { size: 14, weight: 600 }));
  whole.append(svg('rect', { class: 'ground', width, height, fill: css('ground') }), head, svg('g', { id: 'parts' }), ...legend.nodes);
  const text = new XMLSerializer().serializeToString(whole).replace('<g id="parts"/>', () => nested.join(''));
  return { text, width, height };
}

// Parts and legend of a plot, drawn anew in the theme of the moment.
function partsOf(app, id) {
  const { scatter, parallel, lines } = app.views;
  if (id === 'scatter') return { parts: [scatter.pairs.text()], items: scatter.legend(scatter.view()) };
  if (id === 'parallel') {
    const [front, others] = ['front', 'rest'].map((name) => css(name));
    const items = [{ symbol: '━', color: front, text: 'Pareto front' }, { symbol: '━', color: others, text: 'other designs' }];
    return { parts: [{ text: parallel.text(), ...parallel.size }], items };
  }
  const { charts } = lines;
  if (id === 'accuracy') return { parts: [charts.accuracy.text()], items: lines.legend() };
  if (id === 'rate') {
    const planned = { symbol: '┈┈', color: css('faint'), text: 'planned, not trained' };
    const items = lines.legend().filter(({ symbol }) => symbol !== '▒');
    return { parts: [charts.rate.text(), charts.batch.text()], items: lines.isPlanned(lines.compared()) ? [...items, planned] : items };
  }
  lines.drawHypervolume(); // its color is that of the theme
  return { parts: [charts[id].text()], items: [{ symbol: '━', color: css('front'), text: 'hypervolume of the Pareto front' }] };
}

// A figure of plotly as an address of a picture.
function sceneUrl(app, title, format) {
  const { scene } = app.views.scatter;
  const { data, layout } = inLightTheme(() => scene.figure());
  const shown = data.map((trace) => Object.assign(trace, { showlegend: Boolean(trace.x.length) && !['hover', 'selected', 'drops'].includes(trace.name) }));
  const head = { title: { text: escaped(title), x: 0.02, font: { size: 14 } }, margin: { l: 0, r: 0, t: 40, b: 40 } };
  const legend = { showlegend: true, legend: { orientation: 'h', y: 0, yanchor: 'top' } };
  const { clientWidth: width, clientHeight: height } = scene.node;
  return Plotly.toImage({ data: shown, layout: { ...layout, ...head, ...legend } }, { format, width, height, scale: format === 'png' ? 2 : 1 });
}

async function exportPlot(app, id, format) {
  const file = `${fileName(app.study.name)}-${id}.${format}`;
  const heading = document.querySelector(`.export[data-plot="${id}"]`).parentElement.querySelector('h2').textContent;
  const title = `${app.study.name}: ${heading}`;
  if (id === 'scatter' && app.views.scatter.view() === '3d') {
    save(file, blobOf(await sceneUrl(app, title, format)));
    return;
  }
  const { text, width, height } = inLightTheme(() => {
    const { parts, items } = partsOf(app, id);
    return composed(title, parts, items);
  });
  if (id.startsWith('by-')) app.views.lines.drawHypervolume();
  save(file, format === 'svg' ? new Blob([text], { type: 'image/svg+xml' }) : await rastered(text, width, height));
}
