// Notes and stars of designs: shown wherever there are any, written where the server lets the page.
const noteText = (d) => `${d.starred ? '★ ' : ''}${d.note ?? ''}`;

class Notes {
  constructor(app) {
    this.app = app;
    this.dialog = $('note-dialog');
    this.trial = null; // whose note is being written
    this.dialog.addEventListener('close', () => {
      if (this.dialog.returnValue === 'save') this.save();
      this.button?.focus();
    });
    $('table').addEventListener('click', (event) => {
      if (event.target.matches('button.note')) this.open(event.target);
    });
  }

  get isWritable() {
    return document.body.dataset.notes === 'true';
  }

  open(button) {
    const design = this.app.views.table.designOf({ target: button });
    Object.assign(this, { button, trial: design.trial });
    $('note-title').textContent = `Note on trial ${design.trial}`;
    $('note-text').value = design.note ?? '';
    $('note-star').checked = Boolean(design.starred);
    this.dialog.returnValue = '';
    this.dialog.showModal();
  }

  async save() {
    try {
      await this.app.source.writeNote({ trial: this.trial, text: $('note-text').value.trim(), starred: $('note-star').checked });
      $('note-wrong').textContent = '';
    } catch (error) {
      $('note-wrong').textContent = `The note is not saved: ${error.message}`;
      this.dialog.showModal();
    }
  }
}
