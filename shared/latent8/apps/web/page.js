// What the parts of a page share. What a person changes has a rising number, which goes to the server with its event:
// there, and here, the last one counts, in whatever order events and answers arrive. A part of a result that does not
// belong to the last change is stale: greyed, and nothing in it can be used, until that change has a result.
let changes = 0;
const last = new WeakMap(); // number of the last change in a part of the page

window.l8 = {
  work: (node) => node.closest('.l8-work') || document,

  next: () => ++changes,

  stale(node) {
    const work = window.l8.work(node);
    last.set(work, ++changes);
    work.classList?.add('l8-busy');
    for (const part of work.querySelectorAll('.l8-result')) {
      part.classList.add('l8-stale');
      part.inert = true;
      part.setAttribute('aria-busy', 'true');
    }
  },

  // Something was changed in the part of the page that holds an id. busy: whether work begins for it. Gives its number.
  changed(id, busy) {
    const node = document.getElementById(id);
    window.l8.stale(node);
    if (!busy) window.l8.work(node).classList?.remove('l8-busy');
    return last.get(window.l8.work(node));
  },

  // Values for the parts of a result whose event the server did not take.
  refused(id, html, n) {
    const job = last.get(window.l8.work(document.getElementById(id)));
    return [{ job, html, final: true }, ...Array(n - 1).fill(null)];
  },

  isLast: (node, job) => !job || job >= (last.get(window.l8.work(node)) || 0),

  fresh(...parts) {
    for (const part of parts) {
      part.classList.remove('l8-stale');
      part.inert = false;
      part.removeAttribute('aria-busy');
    }
  },

  // This part has its value, and others wait for theirs.
  partly(node) {
    // Gradio gives a part's classes to its frame as well
    for (let part = node.closest('.l8-result'); part; part = part.parentElement.closest('.l8-result')) {
      window.l8.fresh(part);
    }
  },

  // This part has its value, and no others come: they stay stale.
  alone(node) {
    window.l8.work(node).classList?.remove('l8-busy');
    window.l8.partly(node);
  },

  // All parts have got theirs.
  done(node) {
    const work = window.l8.work(node);
    work.classList?.remove('l8-busy');
    window.l8.fresh(...work.querySelectorAll('.l8-result'));
  },
};

// Some of Gradio's own parts have names that their roles may not have, or that say other words than they show; and
// its accordions do not say whether they are open.
function mend() {
  for (const node of document.querySelectorAll('.empty[aria-label]:not([role])')) node.setAttribute('role', 'img');
  for (const node of document.querySelectorAll('.upload-container[aria-label]')) node.removeAttribute('aria-label');
  for (const node of document.querySelectorAll('.thumbnail-item[aria-label]')) {
    if (node.textContent.trim()) node.removeAttribute('aria-label'); // it has a caption
  }
  for (const node of document.querySelectorAll('button.label-wrap')) {
    node.setAttribute('aria-expanded', node.classList.contains('open'));
  }
}
let mending = 0;
new MutationObserver(() => {
  cancelAnimationFrame(mending);
  mending = requestAnimationFrame(mend);
}).observe(document, { childList: true, subtree: true, attributeFilter: ['class'] });
