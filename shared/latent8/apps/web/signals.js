// One event for each change of a setting: not while a slider moves or a number is typed, once for a row of arrow keys.
const SETTLED_MS = 250;
let timer = null;
const work = window.l8.work(element);
work.addEventListener('change', (event) => {
  if (!event.target.closest('.l8-settings') || !event.target.matches('input')) return;
  if (!['range', 'number', 'radio', 'checkbox'].includes(event.target.type)) return;
  window.l8.stale(element);
  clearTimeout(timer);
  timer = setTimeout(() => trigger('submit'), SETTLED_MS);
});
