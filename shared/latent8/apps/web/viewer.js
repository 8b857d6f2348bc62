// Two pictures in one place, with a divider between them; or one. Zoom and position stay when a side changes.
// value: null, or {job, width, height, right, sides, more}. sides: [{key, label, bytes, note, url, scaled}], which are
// there; more: [{key, label, quality}], which are made when they are chosen. side: one that Python has made since, as in
// `sides`, or {job, key, share} while it is made, or {job, key, problem}.
const viewer = element.querySelector('.l8-viewer');
const find = (name) => viewer.querySelector('.l8-' + name);
const [stage, handle, select, waiting] = ['stage', 'handle', 'against', 'waiting'].map(find);
const layers = { left: find('left'), right: find('right') };
const quality = viewer.querySelector('.l8-other-quality input');
const ZOOM_STEP = 1.5;
const GREATEST_ZOOM = 32;
const KEY_STEP = 0.02; // of the width, for the divider
let [zoom, x, y, divider] = [1, 0, 0, 0.5];
let job = null;
let sides = new Map();
let left = null;

const sized = (n) => n < 1e6 ? (n / 1e3).toLocaleString("en", { maximumFractionDigits: 1, minimumFractionDigits: 1 }) + " KB" : (n / 1e6).toFixed(1) + " MB";
const between = (low, value, high) => Math.min(Math.max(low, value), high);

// Where things are.

function place() {
  const { width, height } = stage.getBoundingClientRect();
  x = between(width * (1 - zoom), x, 0);
  y = between(height * (1 - zoom), y, 0);
  for (const layer of Object.values(layers)) {
    const image = layer.querySelector('img');
    image.style.transform = 'translate(' + x + 'px,' + y + 'px) scale(' + zoom + ')';
    image.style.imageRendering = zoom > naturalZoom() * 1.9 ? 'pixelated' : 'auto';
  }
  const percent = 100 * divider;
  layers.left.style.clipPath = left ? 'inset(0 ' + (100 - percent) + '% 0 0)' : 'inset(0 100% 0 0)';
  layers.right.style.clipPath = left ? 'inset(0 0 0 ' + percent + '%)' : 'none';
  handle.style.left = percent + '%';
  handle.hidden = !left;
  handle.setAttribute('aria-valuenow', Math.round(percent));
  stage.classList.toggle('l8-zoomed', zoom > 1);
  find('zoom-text').textContent = Math.round((100 * zoom) / naturalZoom()) + ' %';
}

function naturalZoom() {
  const { width, height } = stage.getBoundingClientRect();
  if (!props.value || !width || !height) return 1;
  const fitted = Math.min(width / props.value.width, height / props.value.height);
  return 1 / (fitted * window.devicePixelRatio);
}

function zoomTo(wanted, atX, atY) {
  const { width, height } = stage.getBoundingClientRect();
  const [px, py] = [atX ?? width / 2, atY ?? height / 2];
  const next = between(1, wanted, GREATEST_ZOOM);
  x = px - ((px - x) * next) / zoom;
  y = py - ((py - y) * next) / zoom;
  zoom = next;
  place();
}

function divide(at) {
  divider = between(0, at, 1);
  place();
}

// What is shown.

function describe(where, side) {
  const tag = find('tag-' + where);
  tag.hidden = !side;
  if (!side) return;
  tag.textContent = side.label + (side.bytes ? ', ' + sized(side.bytes) : '') + (side.note ? ' (' + side.note + ')' : '');
  const image = layers[where].querySelector('img');
  image.alt = side.label;
  if (image.getAttribute('src') !== side.url) image.src = side.url;
}

function draw() {
  const value = props.value;
  viewer.classList.toggle('l8-nothing', !value);
  if (!value) return;
  stage.style.aspectRatio = value.width + ' / ' + value.height;
  describe('right', sides.get(value.right));
  describe('left', left && sides.get(left));
  find('full').hidden = ![...sides.values()].some((side) => side.scaled);
  place();
}

function wait(text) {
  waiting.hidden = !text;
  waiting.textContent = text || '';
}

function choose(key) {
  wait('');
  const wants = (props.value.more || []).find((one) => one.key === key);
  find('other-quality').hidden = !wants?.quality;
  if (sides.has(key) && !wants?.quality) {
    left = key;
    draw();
  } else {
    wait(wants.label + ' is being made ...');
    trigger('wanted', { job, key, quality: Number(quality.value) });
  }
}

function begun() { // with a new result, or with none
  const value = props.value;
  job = value?.job ?? null;
  sides = new Map((value?.sides || []).map((side) => [side.key, side]));
  wait('');
  const before = select.value;
  const others = value ? [...value.sides.filter((side) => side.key !== value.right), ...(value.more || [])] : [];
  select.replaceChildren(...others.map((one) => new Option(one.label, one.key)));
  find('choice').hidden = others.length < 2;
  left = others.length && sides.has(others[0].key) ? others[0].key : null;
  draw();
  if (others.some((one) => one.key === before) && before !== left) {
    select.value = before; // what was compared with goes on being compared with
    choose(before);
  } else find('other-quality').hidden = true;
}

function arrived() {
  const side = props.side;
  if (!side || side.job !== job) return;
  const chosen = side.key === select.value;
  if (side.url) {
    sides.set(side.key, side);
    if (chosen && side.key !== props.value.right) {
      left = side.key;
      wait('');
    }
    if (side.full) wait('');
    draw();
  } else if (side.problem && (chosen || side.key === 'full')) {
    wait(side.problem);
  } else if (side.share !== undefined && (chosen || side.key === 'full')) {
    wait(side.label + ' is being made, ' + Math.round(100 * side.share) + ' % ...');
  }
}

// What a person does.

const pointers = new Map();
let dragged = null; // 'divider' or 'picture'
const inStage = (event) => {
  const { left: startX, top } = stage.getBoundingClientRect();
  return [event.clientX - startX, event.clientY - top];
};
stage.addEventListener('pointerdown', (event) => {
  if (event.button) return;
  pointers.set(event.pointerId, inStage(event));
  dragged = zoom > 1 && !event.target.closest('.l8-handle') ? 'picture' : 'divider';
  if (event.pointerType === 'mouse') {
    stage.setPointerCapture(event.pointerId);
    event.preventDefault();
    if (dragged === 'divider') moved(event);
  }
});
function moved(event) {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const now = inStage(event);
  const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
  if (other) { // two fingers
    const spread = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
    zoomTo((zoom * spread(now)) / spread(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  } else if (dragged === 'picture') {
    x += now[0] - before[0];
    y += now[1] - before[1];
    place();
  } else if (left) divide(now[0] / stage.clientWidth);
  pointers.set(event.pointerId, now);
}
stage.addEventListener('pointermove', moved);
for (const name of ['pointerup', 'pointercancel', 'lostpointercapture']) {
  stage.addEventListener(name, (event) => pointers.delete(event.pointerId));
}
stage.addEventListener('dblclick', (event) => {
  if (zoom > 1) zoomTo(1);
  else zoomTo(Math.max(2, naturalZoom()), ...inStage(event));
});
stage.addEventListener('wheel', (event) => {
  if (!event.ctrlKey && !document.fullscreenElement) return; // the page scrolls
  event.preventDefault();
  zoomTo(zoom * Math.exp(-event.deltaY / 300), ...inStage(event));
}, { passive: false });
handle.addEventListener('keydown', (event) => {
  const step = { ArrowLeft: -KEY_STEP, ArrowDown: -KEY_STEP, ArrowRight: KEY_STEP, ArrowUp: KEY_STEP }[event.key];
  const end = { Home: 0, End: 1 }[event.key];
  if (step === undefined && end === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  divide(end ?? divider + step);
});
stage.addEventListener('keydown', (event) => {
  const way = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  if (way && zoom > 1) {
    event.preventDefault();
    x += way[0] * stage.clientWidth * 0.1;
    y += way[1] * stage.clientHeight * 0.1;
    place();
  } else if (event.key === '+' || event.key === '=') zoomTo(zoom * ZOOM_STEP);
  else if (event.key === '-') zoomTo(zoom / ZOOM_STEP);
  else if (event.key === '0') zoomTo(1);
});
find('in').addEventListener('click', () => zoomTo(zoom * ZOOM_STEP));
find('out').addEventListener('click', () => zoomTo(zoom / ZOOM_STEP));
find('fit').addEventListener('click', () => zoomTo(1));
find('full').addEventListener('click', () => {
  wait('The full size is being made ...');
  trigger('full', { job });
});
find('screen').addEventListener('click', () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else viewer.requestFullscreen();
});
document.addEventListener('fullscreenchange', () => {
  const full = document.fullscreenElement === viewer;
  find('screen').textContent = full ? 'Leave full screen' : 'Full screen';
  requestAnimationFrame(() => full ? zoomTo(1) : place());
});
select.addEventListener('change', () => choose(select.value));
quality.addEventListener('change', () => choose(select.value));
new ResizeObserver(place).observe(stage);
watch('value', begun);
watch('side', arrived);
begun();
