// The page of a run: polls the server for what is new, keeps it, draws it.

import {LineChart, HeatMap, element, number, whole} from './charts.js';

const $ = (id) => document.getElementById(id);

// Header that other origins' pages cannot set without asking the server first.
const header = {'X-Crema': '1'};

const refresh = 1000; // ms between polls
const hiddenRefresh = 10000; // while nobody looks
const otherRunsRefresh = 15000;
const picturesRefresh = 10000;
const messageShown = 10000; // what became of a button
const maxPoints = 10000; // kept of a run; then the server's thinned series is fetched again

const otherColors = ['--c2', '--c3', '--c4', '--c5', '--c6', '--c7'];

let session = {};
let state = null;
let own = null; // the series of this run
let lost = 0; // polls in a row that failed
let configShown = '';
const others = new Map(); // name → {series, color, fetched}

// LoginNeeded says that the server wants its token first.
class LoginNeeded extends Error {}

// Refused is an answer that says no; other errors are of the connection.
class Refused extends Error {}

async function get(path) {
  const r = await fetch(path, {signal: AbortSignal.timeout(8000), cache: 'no-store'});
  if (r.status === 401) throw new LoginNeeded();
  if (!r.ok) throw new Refused((await r.text()).trim() || `${path}: status ${r.status}`);
  return r.json();
}

async function post(path, body) {
  const r = await fetch(path, {method: 'POST', headers: header, body, signal: AbortSignal.timeout(30000)});
  const text = (await r.text()).trim();
  if (!r.ok) throw new Error(text || `status ${r.status}`);
  return text;
}

function notice(text, kind = '') {
  const n = $('notice');
  n.hidden = !text;
  n.className = `notice ${kind}`;
  if (n.textContent !== text) n.textContent = text;
}

function duration(s) {
  if (s === null || s === undefined || !Number.isFinite(s)) return '–';
  const t = Math.round(s);
  const two = (v) => String(v).padStart(2, '0');
  if (t < 60) return `${t} s`;
  if (t < 3600) return `${Math.floor(t / 60)} min ${two(t % 60)} s`;
  if (t < 86400) return `${Math.floor(t / 3600)} h ${two(Math.floor(t / 60) % 60)} min`;
  return `${Math.floor(t / 86400)} d ${Math.floor(t / 3600) % 24} h`;
}

function percent(v, digits = 1) {
  return v === null || v === undefined || !Number.isFinite(v) ? '–' : `${(100 * v).toFixed(digits)} %`;
}

// ---- the charts

const links = (name) => [{text: 'JSON', href: `data/${name}.json`}, {text: 'CSV', href: `data/${name}.csv`}];

const charts = {
  loss: new LineChart({title: 'Loss', links: links('loss')}),
  tests: new LineChart({title: 'Test results', links: links('tests'), logToggle: false}),
  rate: new LineChart({title: 'Learning rate', links: links('rate'), log: true}),
  speed: new LineChart({title: 'Speed', links: links('speed'), logToggle: false, zero: true}),
};
$('charts').append(charts.loss.figure, charts.tests.figure, charts.rate.figure, charts.speed.figure);

const maps = {
  activation: new HeatMap({title: 'Activations (RMS)', links: links('activation')}),
  gradient: new HeatMap({title: 'Gradients (RMS)', links: links('gradient')}),
  ratio: new HeatMap({title: 'Update / weight (RMS)', links: links('ratio')}),
  zero: new HeatMap({title: 'Activations that are 0', links: links('zero'), linear: true}),
};
const depth = new LineChart({title: 'By depth, last sample', links: links('depth'), log: true, names: true, height: 300});
$('signal').prepend(depth.figure, maps.activation.figure, maps.gradient.figure, maps.ratio.figure, maps.zero.figure);

// Layers whose output says nothing about the signal that passes through.
const noSignal = /^(.*Loss|Accuracy|Silence|ArgMax|HDF5Output)$/;

const values = (column) => column || [];
const finite = (v) => v !== null && v !== undefined && Number.isFinite(v);
const last = (column) => (column && column.length ? column[column.length - 1] : null);
const totalLoss = 'total_loss'; // what the recorder calls a test pass's weighted loss
const isLoss = (name) => /loss/i.test(name);

function drawLines() {
  const many = others.size > 0;
  const label = (run, what) => (many ? `${run} ${what}` : what);
  const run = session.run;
  const loss = [
    {name: label(run, 'loss'), color: '--c0', x: own.iter, y: own.loss, width: 1, alpha: 0.4},
    {name: label(run, 'smoothed'), color: '--c0', x: own.iter, y: own.smoothed, width: 2},
  ];
  const tests = [];
  const testColors = ['--c1', '--c2', '--c5', '--c6', '--c3'];
  const addTests = (s, prefix, pick) => {
    const nets = new Set(values(s.tests).map((t) => t.net));
    shownTests(s).forEach((t) => {
      const name = `test ${nets.size > 1 ? `#${t.net} ` : ''}${t.name}`;
      const line = {name: many ? `${prefix} ${name}` : name, x: t.iter, y: t.value, dots: true};
      if (isLoss(t.name)) loss.push({...line, color: pick(0), dashed: many});
      else tests.push({...line, color: pick(tests.length)});
    });
  };
  addTests(own, run, (k) => (many ? '--c0' : testColors[k % testColors.length]));
  const rate = [{name: label(run, 'rate'), color: '--c0', x: own.iter, y: own.rate, width: 2}];
  const images = state.images_per_second > 0 || own.images_per_second.some((v) => v > 0);
  const unit = images ? (ofSequences() ? 'records/s' : 'images/s') : 'iterations/s';
  const speedOf = (s) => (images ? s.images_per_second : perSecond(s));
  const speed = [
    {name: label(run, 'each'), color: '--c0', x: own.iter, y: speedOf(own), width: 1, alpha: 0.35},
    {name: label(run, unit), color: '--c0', x: own.iter, y: smooth(speedOf(own), 20), width: 2},
  ];
  for (const [name, o] of others) {
    if (!o.series) continue;
    const s = o.series;
    loss.push({name: `${name} smoothed`, color: o.color, x: s.iter, y: s.smoothed, width: 2});
    addTests(s, name, () => o.color);
    rate.push({name, color: o.color, x: s.iter, y: s.rate});
    speed.push({name: `${name} ${unit}`, color: o.color, x: s.iter, y: smooth(speedOf(s), 20), width: 2});
  }
  charts.loss.set(loss);
  charts.tests.set(tests);
  // A net that is tested by its loss alone has all its results in the first chart.
  charts.tests.figure.hidden = !tests.length && values(own.tests).length > 0;
  charts.rate.set(rate);
  charts.speed.set(speed);
}

// ofSequences tells whether the net works on sequences: what it reads are time
// steps then, not images.
function ofSequences() {
  return values(state.layers).some((l) => l.type === 'LSTM' || l.type === 'RNN');
}

// shownTests leaves out the sum of the losses where a loss is an output itself.
function shownTests(s) {
  const all = values(s.tests);
  return all.filter((t) => t.name !== totalLoss || !all.some((o) => o.net === t.net && o.name !== totalLoss && isLoss(o.name)));
}

// smooth is an exponential mean over about n values, and the plain mean of the
// first n: the first iterations are slow.
function smooth(column, n) {
  let mean = 0;
  let count = 0;
  return column.map((v) => {
    if (!finite(v)) return null;
    count = Math.min(count + 1, n);
    mean += (v - mean) / count;
    return mean;
  });
}

// perSecond derives iterations a second from the time column, for nets that
// read no images.
function perSecond(s) {
  return s.iter.map((it, i) => (i === 0 ? null : (it - s.iter[i - 1]) / (s.seconds[i] - s.seconds[i - 1])));
}

function drawSignal() {
  const iter = own.layer_iter;
  const rows = (key) => own.layers
    .filter((l) => !noSignal.test(l.type) && values(l[key]).some(finite))
    .map((l) => ({name: l.name, type: l.type, values: l[key]}));
  const found = {};
  for (const key of Object.keys(maps)) {
    found[key] = rows(key);
    maps[key].set(iter, found[key]);
  }
  const layers = own.layers.filter((l) => ['activation', 'gradient', 'ratio'].some((k) => !noSignal.test(l.type) && finite(last(l[k]))));
  const line = (key, name, c) => ({name, color: c, x: layers.map((_, i) => i), y: layers.map((l) => last(l[key])), width: 2, dots: true});
  depth.set([line('activation', 'activations', '--c0'), line('gradient', 'gradients', '--c1'), line('ratio', 'update / weight', '--c2')], layers.map((l) => l.name));
  depth.height = Math.max(300, maps.activation.height);
  verdict(maps.activation, found.activation, false);
  verdict(maps.gradient, found.gradient, true);
  const ratios = found.ratio.map((r) => last(r.values)).filter((v) => v > 0).sort((a, b) => a - b);
  maps.ratio.verdict.textContent = ratios.length
    ? `Between ${number(ratios[0], 2)} and ${number(ratios[ratios.length - 1], 2)}; around 1e-3 is usual, under 1e-6 a layer hardly learns, over 1e-1 it forgets.` : '';
}

// verdict says by what factor the signal changes from one end to the other.
function verdict(map, rows, backwards) {
  const shown = rows.filter((r) => finite(last(r.values)));
  if (shown.length < 2) {
    map.verdict.textContent = '';
    return;
  }
  if (backwards) shown.reverse();
  const [a, b] = [shown[0], shown[shown.length - 1]];
  const factor = last(b.values) / last(a.values);
  let text = `From ${a.name} to ${b.name}: `;
  if (last(b.values) === 0) text += 'nothing arrives';
  else if (!finite(factor)) text += 'no ratio, it starts with 0';
  else if (factor >= 1) text += `× ${number(factor, 2)}`;
  else text += `÷ ${number(1 / factor, 2)}`;
  const bad = factor < 1e-5 || factor > 1e5 || last(b.values) === 0;
  map.verdict.textContent = text + (bad ? (factor > 1 ? '. The signal explodes.' : '. The signal dies on its way.') : '.');
  map.verdict.classList.toggle('bad', bad);
}

// ---- figures and tables

function tile(name, value, sub, bad) {
  return element('div', {}, element('dt', {}, name), element('dd', {class: bad ? 'bad' : false}, value), element('dd', {class: 'sub'}, sub || ''));
}

function drawTiles() {
  const s = state;
  const began = s.iter > 0;
  const tiles = [
    tile('Loss', began ? (finite(s.loss) ? number(s.loss) : 'not finite') : '–', finite(s.smoothed) && began ? `smoothed ${number(s.smoothed)}` : '', began && !finite(s.loss)),
  ];
  for (const t of values(s.tests)) {
    const shown = t.values.find((v) => /acc/i.test(v.name)) || t.values.find((v) => !isLoss(v.name)) || t.values[0];
    if (!shown) continue;
    const share = /acc/i.test(shown.name) && shown.value >= 0 && shown.value <= 1;
    tiles.push(tile(`Test ${values(s.tests).length > 1 ? `#${t.net} ` : ''}${shown.name}`, share ? percent(shown.value, 2) : number(shown.value), `at iteration ${whole(t.iter)}`));
  }
  tiles.push(tile('Learning rate', began ? number(s.rate, 3) : '–'));
  if (s.images_per_second > 0) tiles.push(tile(ofSequences() ? 'Records per second' : 'Images per second', number(s.images_per_second, 3), `${number(s.iterations_per_second, 3)} iterations/s`));
  else tiles.push(tile('Iterations per second', number(s.iterations_per_second, 3)));
  const ended = ['stopped', 'finished', 'failed'].includes(s.status);
  tiles.push(tile(ended ? 'Time taken' : 'Time left', duration(ended ? s.elapsed : s.remaining), ended ? '' : `${duration(s.elapsed)} so far`));
  tiles.push(tile('Waiting for data', percent(s.wait_share), 'of the time'));
  if (s.snapshot) tiles.push(tile('Last snapshot', whole(s.snapshot_iter), 'iteration'));
  $('tiles').replaceChildren(...tiles);
}

function drawTime() {
  const shares = values(state.layers).map((l) => [l, l.forward || 0, l.backward || 0]);
  const most = Math.max(1e-9, ...shares.map(([, f, b]) => f + b));
  const rows = shares.map(([l, f, b]) => {
    const forward = element('i', {class: 'forward'});
    const backward = element('i', {class: 'backward'});
    forward.style.width = `${(100 * f) / most}%`;
    backward.style.width = `${(100 * b) / most}%`;
    return element('tr', {title: `${l.name}: forward ${percent(f)}, backward ${percent(b)}`},
      element('th', {scope: 'row'}, l.name, ' ', element('span', {class: 'type'}, l.type)),
      element('td', {class: 'bar-cell', 'aria-hidden': 'true'}, element('div', {class: 'bars'}, forward, backward)),
      element('td', {class: 'number'}, percent(f + b)));
  });
  $('time-rows').replaceChildren(...rows);
  const item = (c, text) => element('li', {}, element('span', {class: `swatch box ${c}`}), text);
  const sum = (k) => shares.reduce((n, s) => n + s[k], 0);
  $('time-legend').replaceChildren(item('forward', `forward ${percent(sum(1))}`), item('backward', `backward ${percent(sum(2))}`),
    element('li', {}, `of the layers' time at iteration ${whole(state.sampled_at)}`),
    element('li', {}, `waiting for data ${percent(state.wait_share)} of all`));
}

// fresh reports whether the last message about a button is new to this page
// and not shown for long.
function fresh(messages) {
  if (messages !== seen.messages) seen = {messages, until: seen.messages === null ? 0 : Date.now() + messageShown};
  return Date.now() < seen.until;
}

let seen = {messages: null, until: 0};

const pillClass = {training: 'good', testing: 'good', finished: 'good', paused: 'warn', stopped: 'warn', failed: 'bad'};

function drawHead() {
  const s = state;
  $('name').textContent = s.run;
  $('files').textContent = [s.net, s.solver].filter(Boolean).join(' · ');
  const pill = $('status');
  if (pill.textContent !== s.status) pill.textContent = s.status;
  pill.className = `pill ${pillClass[s.status] || ''}`;
  const share = s.max_iter > 0 ? s.iter / s.max_iter : 0;
  $('progress').value = share;
  $('progress-text').textContent = `${whole(s.iter)} of ${whole(s.max_iter)} iterations · ${percent(share)}`;
  document.title = `${(100 * share).toFixed(0)}% · ${s.run} · crema`;
  const ended = ['stopped', 'finished', 'failed'].includes(s.status);
  const paused = s.status === 'paused' || s.control.paused;
  $('pause').textContent = paused ? 'Resume' : 'Pause';
  for (const id of ['pause', 'snapshot', 'stop']) {
    $(id).disabled = !session.control || ended || s.control.stopping || lost > 0;
    $(id).title = session.control ? '' : session.reason;
  }
  const isNew = fresh(s.control.messages); // asked at every poll, to know what is old
  if (s.status === 'failed') notice(s.error || 'The run failed.', 'bad');
  else if (s.control.error) notice(s.control.error, 'bad');
  else if (s.control.stopping && !ended) notice('Stopping after this iteration.');
  else if (s.control.done && isNew) notice(s.control.done, 'good');
  else notice('');
  if (s.status === 'failed' || ended) $('clock').textContent = `run ${s.status}`;
  else $('clock').textContent = `began ${new Date(s.began).toLocaleString()}`;
}

async function drawConfig() {
  if (configShown) return;
  const r = await fetch('data/config.prototxt');
  if (!r.ok) return;
  configShown = await r.text();
  $('config').querySelector('pre').textContent = configShown;
}

const bytes = (n) => (n >= 1e6 ? `${number(n / 1e6, 3)} MB` : n >= 1e3 ? `${number(n / 1e3, 3)} kB` : `${n} B`);

async function drawDownloads() {
  const files = await get('api/files');
  const item = (href, text, size) => element('li', {}, element('a', {href}, text), size ? element('small', {}, ` ${bytes(size)}`) : '');
  $('downloads').replaceChildren(
    ...files.plots.map((f) => item(f.href, f.name, f.size)),
    ...files.files.map((f) => item(f.href, f.name, f.size)),
    item('data/config.prototxt', 'configuration'),
    item('api/series', 'all series (JSON)'),
    item('api/state', 'state (JSON)'),
    item('metrics', 'Prometheus metrics'));
}

async function drawPictures() {
  const p = await get('api/pictures');
  const all = [...(p.filters ? [p.filters] : []), ...values(p.inputs), ...values(p.labels)];
  $('pictures-section').hidden = all.length === 0;
  if (!all.length) return;
  const figure = (title, pictures, scale) => element('figure', {class: 'card'},
    element('figcaption', {}, element('h3', {}, title), element('p', {class: 'links'}, `iteration ${whole(p.iter)}`)),
    element('div', {class: 'pictures'}, ...pictures.map((x) => {
      const img = element('img', {src: x.src, alt: x.title, title: x.title});
      img.style.width = `${x.width * scale(x)}px`;
      return img;
    })));
  const filters = (x) => Math.max(1, Math.min(6, Math.floor(440 / x.width)));
  const inputs = (x) => Math.max(1, Math.floor(112 / x.width));
  $('pictures').replaceChildren(
    ...(p.filters ? [figure(p.filters.title, [p.filters], filters)] : []),
    ...(values(p.inputs).length ? [figure('Images as the net gets them', p.inputs, inputs)] : []),
    ...(values(p.labels).length ? [figure('Their labels, a colour for each class', p.labels, inputs)] : []));
}

// ---- other runs of the folder

async function drawRuns() {
  const list = await get('api/runs');
  const rest = list.filter((r) => r.name !== session.run);
  $('runs-section').hidden = rest.length === 0;
  const boxes = $('runs');
  const now = new Map([...boxes.querySelectorAll('label')].map((l) => [l.dataset.name, l]));
  for (const r of rest) {
    let label = now.get(r.name);
    if (!label) {
      const box = element('input', {type: 'checkbox'});
      box.addEventListener('change', () => toggleRun(r.name, box.checked));
      const swatch = element('span', {class: 'swatch'});
      label = element('label', {'data-name': r.name}, box, swatch, r.name, element('small'));
      swatch.hidden = true;
      boxes.append(label);
    }
    label.querySelector('small').textContent = `to iteration ${whole(r.iter)}`;
    now.delete(r.name);
  }
  for (const [name, label] of now) {
    label.remove();
    others.delete(name);
  }
}

const runLabel = (name) => [...$('runs').querySelectorAll('label')].find((l) => l.dataset.name === name);

async function toggleRun(name, on) {
  const swatch = runLabel(name).querySelector('.swatch');
  if (on) {
    const used = new Set([...others.values()].map((o) => o.color));
    const c = otherColors.find((x) => !used.has(x)) || otherColors[others.size % otherColors.length];
    others.set(name, {series: null, color: c, fetched: 0});
    swatch.style.color = `var(${c})`;
    await guard(fetchOthers);
  } else {
    others.delete(name);
  }
  swatch.hidden = !others.has(name);
  if (own) drawLines();
}

async function fetchOthers() {
  for (const [name, o] of others) {
    if (Date.now() - o.fetched < otherRunsRefresh) continue;
    o.fetched = Date.now();
    try {
      o.series = await get(`api/runs/series?run=${encodeURIComponent(name)}`);
    } catch (e) {
      if (!(e instanceof Refused)) throw e;
      others.delete(name);
      const label = runLabel(name);
      label.querySelector('input').checked = false;
      label.querySelector('small').textContent = e.message;
    }
  }
}

// ---- polling

function append(to, from, iterKey, keys) {
  const end = to[iterKey].length ? last(to[iterKey]) : -1;
  let first = from[iterKey].findIndex((it) => it > end);
  if (first < 0) return;
  for (const k of [iterKey, ...keys]) to[k].push(...values(from[k]).slice(first));
}

const rowKeys = ['loss', 'smoothed', 'rate', 'seconds', 'images_per_second', 'wait_share'];
const layerKeys = ['activation', 'zero', 'gradient', 'weight', 'ratio', 'time'];

// extend takes what is new into the series. A layer's column appears whole or
// not at all, so a column that was empty before is filled up with gaps.
function extend(s) {
  append(own, s, 'iter', rowKeys);
  for (const t of values(s.tests)) {
    const mine = own.tests.find((x) => x.net === t.net && x.name === t.name);
    if (mine) append(mine, t, 'iter', ['value']);
    else own.tests.push(t);
  }
  const end = own.layer_iter.length ? last(own.layer_iter) : -1;
  const first = values(s.layer_iter).findIndex((it) => it > end);
  if (first < 0) return;
  const before = own.layer_iter.length;
  own.layer_iter.push(...s.layer_iter.slice(first));
  s.layers.forEach((l, k) => {
    if (!own.layers[k]) own.layers[k] = {name: l.name, type: l.type};
    for (const key of layerKeys) {
      const has = values(own.layers[k][key]).length > 0;
      const more = values(l[key]).slice(first);
      if (!has && !more.some(finite)) continue;
      if (!has) own.layers[k][key] = Array(before).fill(null);
      while (more.length < own.layer_iter.length - before) more.push(null);
      own.layers[k][key].push(...more);
    }
  });
}

async function fetchSeries() {
  // A test follows the row of its iteration, so the last rows are asked for
  // again and what is known is dropped.
  const since = own ? Math.max(-1, (own.iter.length ? last(own.iter) : -1) - 2) : -1;
  let s = await get(`api/series?since=${since}`);
  if (!own || s.revision !== own.revision || own.iter.length > maxPoints) {
    if (since >= 0) s = await get('api/series?since=-1');
    own = {revision: s.revision, iter: [], tests: [], layer_iter: [], layers: []};
    for (const k of rowKeys) own[k] = [];
  }
  extend(s);
}

let nextPictures = 0;
let nextRuns = 0;

async function poll() {
  if (!session.run) {
    session = await get('api/session');
  }
  state = await get('api/state');
  await fetchSeries();
  if (others.size) await fetchOthers();
  lost = 0;
  drawHead();
  drawTiles();
  drawTime();
  drawLines();
  drawSignal();
  const now = Date.now();
  if (now >= nextPictures) {
    nextPictures = now + (nextPictures ? picturesRefresh : refresh);
    await unlessRefused(drawPictures);
  }
  if (now >= nextRuns) {
    nextRuns = now + otherRunsRefresh;
    await unlessRefused(drawRuns);
    await unlessRefused(drawDownloads);
    await unlessRefused(drawConfig);
  }
}

// unlessRefused runs f for a part of the page that the rest can do without.
async function unlessRefused(f) {
  try {
    await f();
  } catch (e) {
    if (!(e instanceof Refused)) throw e;
    console.warn(e.message);
  }
}

// guard runs f and shows what goes wrong.
async function guard(f) {
  try {
    await f();
    return true;
  } catch (e) {
    if (e instanceof LoginNeeded) {
      if (!$('login').open) $('login').showModal();
      return false;
    }
    lost++;
    if (lost >= 2) connectionLost(e);
    return false;
  }
}

function connectionLost(e) {
  for (const id of ['pause', 'snapshot', 'stop']) $(id).disabled = true;
  if (state && ['stopped', 'finished', 'failed'].includes(state.status)) {
    $('clock').textContent = 'The program has ended; this is the last that was seen of it.';
    return;
  }
  $('status').textContent = 'no connection';
  $('status').className = 'pill bad';
  notice(e instanceof TypeError || e.name === 'TimeoutError' || e.name === 'AbortError'
    ? 'The program does not answer: it has ended, or the connection is lost. The page goes on when it is back.' : e.message, 'bad');
}

async function loop() {
  await guard(poll);
  const wait = lost ? Math.min(1000 * 2 ** Math.min(lost, 4), 15000) : document.hidden ? hiddenRefresh : refresh;
  timer = setTimeout(loop, wait);
}

let timer = 0;

function pollNow() {
  clearTimeout(timer);
  loop();
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden) pollNow();
});

window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  for (const c of [...Object.values(charts), ...Object.values(maps), depth]) c.redraw();
});

// ---- buttons

async function act(action) {
  try {
    await post(`api/${action}`);
  } catch (e) {
    notice(e.message, 'bad');
    return;
  }
  pollNow();
}

$('pause').addEventListener('click', () => act($('pause').textContent === 'Resume' ? 'resume' : 'pause'));
$('snapshot').addEventListener('click', () => act('snapshot'));
$('stop').addEventListener('click', () => {
  $('confirm').returnValue = 'cancel';
  $('confirm').showModal();
});
$('confirm').addEventListener('close', () => {
  if ($('confirm').returnValue === 'stop') act('stop');
});

$('login').querySelector('form').addEventListener('submit', async (e) => {
  e.preventDefault();
  $('login-error').textContent = '';
  try {
    await post('api/login', $('token').value);
    $('token').value = '';
    $('login').close();
    pollNow();
  } catch (err) {
    $('login-error').textContent = err.message;
    $('token').value = '';
    $('token').focus();
  }
});

loop();
