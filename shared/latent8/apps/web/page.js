// What the parts of a page share. A part of a result that no longer belongs to what is set is stale: greyed, and
// nothing in it can be used, until the part gets a value of its own again.
window.l8 = {
  work: (node) => node.closest('.l8-work') || document,

  stale(node) {
    const work = window.l8.work(node);
    work.classList?.add('l8-busy');
    for (const part of work.querySelectorAll('.l8-result')) {
      part.classList.add('l8-stale');
      part.inert = true;
      part.setAttribute('aria-busy', 'true');
    }
  },

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

  // All parts have got theirs.
  done(node) {
    const work = window.l8.work(node);
    work.classList?.remove('l8-busy');
    window.l8.fresh(...work.querySelectorAll('.l8-result'));
  },
};

// Two of Gradio's own parts have names that their roles may not have, or that say other words than they show.
function mend() {
  for (const node of document.querySelectorAll('.empty[aria-label]:not([role])')) node.setAttribute('role', 'img');
  for (const node of document.querySelectorAll('.upload-container[aria-label]')) node.removeAttribute('aria-label');
}
let mending = 0;
new MutationObserver(() => {
  cancelAnimationFrame(mending);
  mending = requestAnimationFrame(mend);
}).observe(document, { childList: true, subtree: true });
