// One event for each change of a setting: not while a slider moves or a number is typed, once for a row of arrow keys,
// and once for a list, whose own event comes twice (`l8-list`, see `wiring.signals`).
const SETTLED_MS = 250;
let timer = null;
const work = window.l8.work(element);
function changed() {
  window.l8.stale(element);
  clearTimeout(timer);
  timer = setTimeout(() => trigger('submit'), SETTLED_MS);
}
work.addEventListener('change', (event) => {
  if (!event.target.closest('.l8-settings') || !event.target.matches('input')) return;
  if (event.target.closest('.l8-choose-by') && event.target.value === 'Size') return; // it is still to be set
  if (['range', 'number', 'radio', 'checkbox'].includes(event.target.type)) changed();
});
work.addEventListener('l8-list', changed);
