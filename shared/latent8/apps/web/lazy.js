// A part that is asked for when it comes into view, and again for each new result. value: null or {job, html}; the
// html is empty until it was asked for.
let asked = null;
const seen = new IntersectionObserver((entries) => {
  if (entries.some((entry) => entry.isIntersecting)) ask();
  else if (!element.offsetParent && !props.value?.html) asked = null; // closed before it was made: that was stopped
});
function ask() {
  const { job, html } = props.value || {};
  if (!job || html || asked === job || !element.offsetParent) return;
  asked = job;
  trigger('wanted', { job });
}
function shown() {
  seen.disconnect();
  seen.observe(element);
}
watch('value', shown);
shown();
