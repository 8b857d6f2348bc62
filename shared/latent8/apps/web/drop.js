// A box that takes files: chosen, dropped anywhere on the page, or pasted; or one of the examples.
// props: value (null, or a list of {path, name, size}), multiple, limit (bytes), largest (the same in words).
const box = element.querySelector('.l8-drop');
const input = box.querySelector('input');
const label = box.querySelector('.l8-drop-label');
const list = box.querySelector('.l8-drop-files');
const total = box.querySelector('.l8-drop-total');
const said = box.querySelector('.l8-drop-said');
const examples = box.querySelector('.l8-examples');
let turn = 0; // of the latest files that were brought

const sized = (n) => n < 1e6 ? (n / 1e3).toLocaleString("en", { maximumFractionDigits: 1, minimumFractionDigits: 1 }) + " KB" : (n / 1e6).toFixed(1) + " MB";

function made(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function draw() {
  const files = props.value || [];
  box.classList.toggle('l8-filled', files.length > 0);
  label.querySelector('.l8-drop-title').textContent = files.length
    ? (props.multiple ? 'Add more' : 'Replace the ' + box.dataset.noun)
    : box.dataset.title;
  const shown = files.map((file, index) => {
    const remove = made('button', { type: 'button', className: 'l8-quiet', textContent: 'Remove' });
    remove.setAttribute('aria-label', 'Remove ' + file.name);
    remove.addEventListener('click', () => put(files.filter((_, other) => other !== index)));
    const name = made('span', { className: 'l8-file-name', textContent: file.name, title: file.name });
    return made('li', {}, name, made('span', { className: 'l8-file-size', textContent: sized(file.size) }), remove);
  });
  list.replaceChildren(...shown);
  total.replaceChildren();
  if (files.length > 1) {
    const bytes = files.reduce((sum, file) => sum + file.size, 0);
    const all = made('button', { type: 'button', className: 'l8-quiet', textContent: 'Remove all' });
    all.addEventListener('click', () => put([]));
    total.append(made('span', {}, files.length.toLocaleString('en') + ' files, ' + sized(bytes)), all);
  }
  if (examples) examples.hidden = files.length > 0;
}

function put(files) {
  turn += 1;
  const focused = box.contains(document.activeElement);
  props.value = files.length ? files : null;
  said.textContent = '';
  draw();
  if (focused) input.focus({ preventScroll: true }); // what had it may be gone
  trigger('upload');
}

// The server's own sentence, in an error of Gradio's ('HTTP 507: {"detail": "..."}'), or what may help.
function reason(error) {
  try {
    const { detail } = JSON.parse(error.message.replace(/^HTTP \d+: /, ''));
    return detail[0].toLowerCase() + detail.slice(1);
  } catch {
    return 'try again.';
  }
}

async function take(files) {
  const mine = ++turn;
  const wanted = props.multiple ? [...files] : [...files].slice(0, 1);
  const taken = [];
  const refused = [];
  window.l8.stale(element);
  for (const [index, file] of wanted.entries()) {
    const count = wanted.length > 1 ? ' (' + (index + 1) + ' of ' + wanted.length + ')' : '';
    said.textContent = 'Uploading ' + file.name + count + ' ...';
    if (file.size > props.limit) {
      refused.push(file.name + ' is larger than ' + props.largest + ', the most that is taken.');
      continue;
    }
    try {
      const { path } = await upload(file);
      taken.push({ path, name: file.name, size: file.size });
    } catch (error) {
      refused.push(file.name + ' could not be uploaded: ' + reason(error));
    }
    if (mine !== turn) return; // others were brought since
  }
  put(props.multiple ? [...(props.value || []), ...taken] : taken);
  said.textContent = refused.join(' ');
}

// Where several boxes are on the page, files go to the one under the pointer, else to the first.
function isMine(target) {
  if (!element.isConnected || !box.offsetParent) return false;
  const under = target instanceof Element && target.closest('.l8-drop');
  if (under && under.offsetParent) return under === box;
  return [...document.querySelectorAll('.l8-drop')].find((other) => other.offsetParent) === box;
}

function onPage(name, act) {
  const listener = (event) => {
    if (!element.isConnected) document.removeEventListener(name, listener);
    else act(event);
  };
  document.addEventListener(name, listener);
}

const brings = (event) => event.dataTransfer && [...event.dataTransfer.types].includes('Files');
onPage('dragover', (event) => {
  if (!brings(event)) return;
  event.preventDefault(); // else the browser opens what is dropped
  box.classList.toggle('l8-over', isMine(event.target));
});
onPage('dragleave', (event) => event.relatedTarget || box.classList.remove('l8-over'));
onPage('drop', (event) => {
  if (!brings(event)) return;
  event.preventDefault();
  box.classList.remove('l8-over');
  if (isMine(event.target)) take(event.dataTransfer.files);
});
onPage('paste', (event) => {
  if (event.clipboardData.files.length && isMine(document.activeElement)) {
    event.preventDefault();
    take(event.clipboardData.files);
  }
});
input.addEventListener('change', () => {
  if (input.files.length) take(input.files);
  input.value = ''; // so that the same file can be chosen again
});
if (examples) {
  examples.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    const { path, name, size } = button.dataset;
    put([{ path, name, size: Number(size) }]);
  });
}
watch('value', draw);
draw();
