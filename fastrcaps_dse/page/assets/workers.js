// The runs that are being trained now, in the header: how many, and, unfolded, each with its machine.
const WORKER_COLUMNS = ['host', 'process', 'device', 'design', 'epoch'];

function workerCells({ host, process, device, trial, label, seed, epoch, epochs, alive }) {
  const progress = `${epoch} of ${epochs}${alive ? '' : ', no sign of life'}`;
  return [host, String(process), device ?? 'no device yet', `trial ${trial}, seed ${seed}: ${label}`, progress];
}

function showWorkers({ study }) {
  const node = $('workers');
  const { text, rows } = study.workers;
  node.hidden = !text;
  const words = node.querySelector('[role=status]');
  if (words.textContent !== text) words.textContent = text; // a reader of the screen says it once
  const heads = WORKER_COLUMNS.map((name) => element('th', { scope: 'col', className: 'text', textContent: name }));
  node.querySelector('thead').replaceChildren(element('tr', {}, ...heads));
  node.querySelector('tbody').replaceChildren(...rows.map((row) => {
    const cells = workerCells(row).map((content) => element('td', { className: 'text', textContent: content }));
    return element('tr', { className: row.alive ? '' : 'interrupted' }, ...cells);
  }));
}
