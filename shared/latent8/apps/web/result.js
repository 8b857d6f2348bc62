// The part of a page that Python fills first: value is null or {job, html, final}; of the last change, or too late.
watch('value', () => {
  const { job, final } = props.value || {};
  if (!window.l8.isLast(element, job)) return;
  if (final === false) window.l8.partly(element);
  else window.l8.done(element);
});
