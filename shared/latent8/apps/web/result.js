// The part of a page that Python fills first: value is null or {job, html, final}.
watch('value', () => (props.value?.final === false ? window.l8.partly(element) : window.l8.done(element)));
