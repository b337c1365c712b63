"""What is wrong with the geometry of the page's plots, found from the boxes of what a browser has drawn."""

from __future__ import annotations

from typing import Any

FAULTS = """() => {
  const faults = [];
  const box = (node) => node.getBoundingClientRect();
  const titleOf = (node) => node.closest('.pair, .plot').querySelector('text.title')?.textContent;
  const say = (node) => `${node.textContent.slice(0, 30) || node.dataset.mark} of ${titleOf(node)}`;
  const common = (a, b, from, to) => Math.min(a[to], b[to]) - Math.max(a[from], b[from]);
  const overlap = (a, b, room) => common(a, b, 'left', 'right') > room && common(a, b, 'top', 'bottom') > room;
  for (const panel of document.querySelectorAll('.pair, .plot')) {
    const outer = box(panel);
    if (!outer.width || !outer.height) faults.push(`a panel has no size: ${panel.className}`);
    const texts = [...panel.querySelectorAll('text')].filter((node) => node.textContent);
    const buttons = [...panel.querySelectorAll('button')].filter((node) => !node.hidden);
    const marks = [...panel.querySelectorAll('.single[data-mark=pick], .single[data-mark=selected]')];
    for (const node of [...texts, ...marks, ...buttons]) {
      const own = box(node);
      const isIn = own.left >= outer.left - 1 && own.right <= outer.right + 1 && own.top >= outer.top - 1 && own.bottom <= outer.bottom + 1;
      if (!isIn) faults.push(`leaves its panel: ${say(node)}`);
    }
    const apart = [...texts, ...buttons];
    apart.forEach((a, k) => apart.slice(k + 1).forEach((b) => {
      if (overlap(box(a), box(b), 2)) faults.push(`overlap: ${say(a)} and ${say(b)}`);
    }));
    for (const mark of panel.querySelectorAll('.single[data-mark=pick]')) {
      for (const text of texts) if (overlap(box(mark), box(text), 2)) faults.push(`the pick is under ${say(text)}`);
      const number = [...panel.querySelectorAll('text.label')].find((text) => text.textContent.split(' ')[0] === mark.dataset.trial);
      if (!number) faults.push(`the pick has no number: ${say(mark)}`);
    }
  }
  const panels = [...document.querySelectorAll('.pair, .plot')];
  panels.forEach((a, k) => panels.slice(k + 1).forEach((b) => { if (overlap(box(a), box(b), 1)) faults.push('two panels overlap'); }));
  for (const section of document.querySelectorAll('main > section')) {
    if (!section.querySelector('.pair, .plot')) continue;
    if (section.scrollWidth > section.clientWidth + 1) faults.push(`wider than its section: ${section.id}`);
    const inner = [...section.querySelectorAll('.pair, .plot, .legend > span, .head > *')].filter((node) => box(node).width);
    for (const node of inner) {
      if (box(node).right > box(section).right + 1) faults.push(`leaves its section: ${node.textContent.slice(0, 30)}`);
    }
  }
  if (document.documentElement.scrollWidth > innerWidth) faults.push('the page is wider than its window');
  return faults;
}"""


def plot_faults(page: Any) -> list[str]:
    """In words: texts, marks and panels that overlap or leave what they belong to."""
    found: list[str] = page.evaluate(FAULTS)
    return found
