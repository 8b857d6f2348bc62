// The part of a page that Python fills first: value is null or {job, html, final, alone}; of the last change, or too late.
watch('value', () => {
  const { job, final, alone } = props.value || {};
  if (!window.l8.isLast(element, job)) return;
  if (final === false) window.l8.partly(element);
  else if (alone) window.l8.alone(element);
  else window.l8.done(element);
});
