// Charts on a canvas: lines over iterations (or over the depth of the net) and
// a heat map of layers by iterations. Both can be read with the pointer and,
// when focused, with the arrow keys; what they point at is written into the
// legend, which screen readers announce.

// color returns a custom property of the style sheet, which knows the theme.
export function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// number writes a value with about four digits.
export function number(v, digits = 4) {
  if (v === null || v === undefined || !Number.isFinite(v)) return '–';
  if (v === 0) return '0';
  const a = Math.abs(v);
  if (a >= 1e6 || a < 1e-3) {
    return v.toExponential(Math.max(digits - 2, 0)).replace(/\.?0+e/, 'e').replace('e+', 'e');
  }
  const rounded = Number(v.toPrecision(digits));
  return a >= 1000 ? rounded.toLocaleString('en-US') : String(rounded);
}

// whole writes an integer with separators.
export function whole(v) {
  return Math.round(v).toLocaleString('en-US');
}

// element makes an element with attributes and children.
export function element(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) {
    if (v === true) e.setAttribute(k, '');
    else if (v !== false && v !== null && v !== undefined) e.setAttribute(k, v);
  }
  e.append(...children);
  return e;
}

// tick labels: 450000 as 450k.
function short(v) {
  const a = Math.abs(v);
  if (a >= 1e6) return number(v / 1e6, 3) + 'M';
  if (a >= 1e4) return number(v / 1e3, 3) + 'k';
  return number(v);
}

// linearTicks returns about n round values within [lo, hi].
function linearTicks(lo, hi, n) {
  const raw = (hi - lo) / Math.max(n, 1);
  if (!(raw > 0) || !Number.isFinite(raw)) return [lo];
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * unit).find((s) => s >= raw);
  const ticks = [];
  for (let k = Math.ceil(lo / step - 1e-9); k * step <= hi + step * 1e-9; k++) {
    ticks.push(Number((k * step).toPrecision(12)));
  }
  return ticks;
}

// logTicks returns powers of ten within [lo, hi], every so many that there are
// at most n, or, where the range is short, 1, 2, 5 between them.
function logTicks(lo, hi, n) {
  const from = Math.floor(Math.log10(lo) + 1e-9);
  const to = Math.ceil(Math.log10(hi) - 1e-9);
  const within = (v) => v >= lo * (1 - 1e-9) && v <= hi * (1 + 1e-9);
  if (to - from <= 2) {
    const ticks = [];
    for (let e = from; e <= to; e++) {
      for (const m of [1, 2, 5]) ticks.push(Number(`${m}e${e}`));
    }
    const kept = ticks.filter(within);
    return kept.length >= 2 ? kept : linearTicks(lo, hi, n);
  }
  const every = Math.ceil((to - from + 1) / Math.max(n, 2));
  const ticks = [];
  for (let e = from; e <= to; e++) {
    if (e % every === 0) ticks.push(Number(`1e${e}`));
  }
  return ticks.filter(within);
}

// nearest returns the index of the element of a sorted array closest to v.
function nearest(xs, v) {
  let lo = 0;
  let hi = xs.length - 1;
  while (hi - lo > 1) {
    const mid = (lo + hi) >> 1;
    if (xs[mid] <= v) lo = mid;
    else hi = mid;
  }
  return hi >= 0 && Math.abs(xs[hi] - v) < Math.abs(xs[lo] - v) ? hi : Math.max(lo, 0);
}

// A Chart is what both kinds have in common: a figure with a caption, a legend,
// a canvas in device pixels, and a cursor.
class Chart {
  constructor({title, height, links = []}) {
    this.cursor = null;
    this.height = height;
    this.legend = element('ul', {class: 'legend'});
    this.canvas = element('canvas', {tabindex: 0, role: 'img', 'aria-label': title});
    this.spoken = element('p', {class: 'sr', 'aria-live': 'polite'});
    this.tools = element('p', {class: 'links'});
    for (const l of links) this.tools.append(element('a', {href: l.href, 'aria-label': `${title} as ${l.text}`}, l.text));
    this.verdict = element('p', {class: 'verdict'});
    this.figure = element('figure', {class: 'card'},
      element('figcaption', {}, element('h3', {}, title), this.tools, this.legend),
      this.canvas, this.verdict, this.spoken);
    this.title = title;
    this.canvas.addEventListener('pointermove', (e) => this.point(e.offsetX, e.offsetY));
    this.canvas.addEventListener('pointerdown', (e) => this.point(e.offsetX, e.offsetY));
    this.canvas.addEventListener('pointerleave', () => this.leave());
    this.canvas.addEventListener('blur', () => this.leave());
    this.canvas.addEventListener('keydown', (e) => this.key(e));
    new ResizeObserver(() => this.redraw()).observe(this.figure);
  }

  leave() {
    this.cursor = null;
    this.redraw();
  }

  key(e) {
    if (e.key === 'Escape') return this.leave();
    if (!this.move(e.key)) return;
    e.preventDefault();
    this.redraw();
    this.spoken.textContent = [...this.legend.children].map((li) => li.textContent).join(', ');
  }

  // redraw draws at the next frame, once however often it is called.
  redraw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (this.figure.isConnected && this.figure.clientWidth > 0) this.draw();
    });
  }

  // begin sizes the canvas and returns its context in CSS pixels.
  begin() {
    const ratio = window.devicePixelRatio || 1;
    const style = getComputedStyle(this.figure);
    const width = Math.floor(this.figure.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
    const w = Math.round(width * ratio);
    const h = Math.round(this.height * ratio);
    if (this.canvas.width !== w || this.canvas.height !== h) {
      this.canvas.width = w;
      this.canvas.height = h;
      this.canvas.style.height = `${this.height}px`;
    }
    const g = this.canvas.getContext('2d');
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, width, this.height);
    g.font = `11.5px ${getComputedStyle(document.body).fontFamily}`;
    g.textBaseline = 'middle';
    this.width = width;
    return g;
  }

  // xAxis draws ticks and labels of iterations below the plot area.
  xAxis(g, box, lo, hi, toX) {
    g.fillStyle = color('--muted');
    g.strokeStyle = color('--grid');
    g.lineWidth = 1;
    g.textAlign = 'center';
    const ticks = linearTicks(lo, hi, Math.max(2, Math.floor((box.right - box.left) / 85)));
    for (const t of ticks) {
      if (!Number.isInteger(t)) continue;
      const x = Math.round(toX(t)) + 0.5;
      g.beginPath();
      g.moveTo(x, box.bottom);
      g.lineTo(x, box.bottom + 4);
      g.stroke();
      const text = short(t);
      const half = g.measureText(text).width / 2;
      g.fillText(text, Math.min(Math.max(x, box.left + half - 4), this.width - half - 1), box.bottom + 13);
    }
  }

  empty(g, text) {
    g.fillStyle = color('--muted');
    g.textAlign = 'center';
    g.fillText(text, this.width / 2, this.height / 2);
  }
}

// A LineChart draws series {name, color, x, y, width, alpha, dots, dashed}; x is
// sorted, y may have null or NaN for gaps.
export class LineChart extends Chart {
  constructor({title, links, log = false, logToggle = true, format = number, zero = false, names = null, height = 230}) {
    super({title, height, links});
    this.log = log;
    this.format = format;
    this.zero = zero;
    this.names = names !== null;
    this.series = [];
    if (logToggle) {
      const box = element('input', {type: 'checkbox', 'aria-label': `${title}: logarithmic axis`});
      box.checked = log;
      box.addEventListener('change', () => {
        this.log = box.checked;
        this.redraw();
      });
      this.tools.prepend(element('label', {}, box, 'log'));
    }
  }

  // set replaces what is shown. names are the ticks of a chart over layers.
  set(series, names) {
    // The caller goes on to append to its x; a y may be derived and stay behind.
    this.series = series.map((s) => ({...s, x: s.x.slice(0, s.y.length)}));
    this.labels = names;
    this.redraw();
  }

  bounds() {
    let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const s of this.series) {
      for (let i = 0; i < s.x.length; i++) {
        const y = s.y[i];
        if (y === null || !Number.isFinite(y) || (this.log && y <= 0)) continue;
        if (s.x[i] < x0) x0 = s.x[i];
        if (s.x[i] > x1) x1 = s.x[i];
        if (y < y0) y0 = y;
        if (y > y1) y1 = y;
      }
    }
    if (x0 > x1) return null;
    if (this.names) [x0, x1] = [-0.5, this.labels.length - 0.5];
    else if (x0 === x1) [x0, x1] = [x0 - 1, x1 + 1];
    if (this.log) {
      if (y1 / y0 < 1.5) [y0, y1] = [y0 / 1.5, y1 * 1.5];
      const pad = (y1 / y0) ** 0.04;
      return {x0, x1, y0: y0 / pad, y1: y1 * pad};
    }
    if (this.zero) y0 = Math.min(y0, 0);
    if (y0 === y1) [y0, y1] = [y0 - Math.abs(y0 || 1) * 0.1, y1 + Math.abs(y1 || 1) * 0.1];
    const pad = (y1 - y0) * 0.05;
    return {x0, x1, y0: this.zero && y0 >= 0 ? y0 : y0 - pad, y1: y1 + pad};
  }

  draw() {
    let foot = 24;
    const labels = this.names ? this.labels || [] : [];
    const g = this.begin();
    if (this.names) foot = Math.min(96, 12 + Math.max(0, ...labels.map((l) => g.measureText(l).width)));
    const b = this.bounds();
    this.plot = b;
    if (!b) {
      this.empty(g, 'no values yet');
      return this.describe();
    }
    const toV = this.log ? Math.log10 : (v) => v;
    const rows = Math.floor((this.height - foot) / 38);
    const ticks = this.log ? logTicks(b.y0, b.y1, rows) : linearTicks(b.y0, b.y1, rows);
    const texts = ticks.map(short);
    const gutter = 10 + Math.max(0, ...texts.map((t) => g.measureText(t).width));
    const box = {left: gutter, right: this.width - 8, top: 8, bottom: this.height - foot};
    const toX = (x) => box.left + ((x - b.x0) / (b.x1 - b.x0)) * (box.right - box.left);
    const [v0, v1] = [toV(b.y0), toV(b.y1)];
    const toY = (y) => box.bottom - ((toV(y) - v0) / (v1 - v0)) * (box.bottom - box.top);
    this.box = box;

    g.lineWidth = 1;
    g.textAlign = 'right';
    ticks.forEach((t, i) => {
      const y = Math.round(toY(t)) + 0.5;
      g.strokeStyle = color('--grid');
      g.beginPath();
      g.moveTo(box.left, y);
      g.lineTo(box.right, y);
      g.stroke();
      g.fillStyle = color('--muted');
      g.fillText(texts[i], box.left - 6, y);
    });
    if (this.names) this.nameAxis(g, box, labels, toX);
    else this.xAxis(g, box, b.x0, b.x1, toX);
    g.strokeStyle = color('--axis');
    g.beginPath();
    g.moveTo(box.left + 0.5, box.top);
    g.lineTo(box.left + 0.5, box.bottom + 0.5);
    g.lineTo(box.right, box.bottom + 0.5);
    g.stroke();

    g.save();
    g.beginPath();
    g.rect(box.left, box.top - 4, box.right - box.left + 4, box.bottom - box.top + 8);
    g.clip();
    for (const s of this.series) this.line(g, s, toX, toY);
    if (this.cursor !== null) this.marks(g, toX, toY);
    g.restore();
    this.describe();
  }

  line(g, s, toX, toY) {
    g.strokeStyle = g.fillStyle = color(s.color);
    g.globalAlpha = s.alpha || 1;
    g.lineWidth = s.width || 1.6;
    g.lineJoin = 'round';
    g.setLineDash(s.dashed ? [5, 4] : []);
    const shown = (i) => s.y[i] !== null && Number.isFinite(s.y[i]) && !(this.log && s.y[i] <= 0);
    g.beginPath();
    let pen = false;
    for (let i = 0; i < s.x.length; i++) {
      if (!shown(i)) {
        // A layer without the figure does not break the line over depth.
        if (!this.names) pen = false;
        continue;
      }
      const [x, y] = [toX(s.x[i]), toY(s.y[i])];
      if (pen) g.lineTo(x, y);
      else g.moveTo(x, y);
      pen = true;
    }
    g.stroke();
    g.setLineDash([]);
    const few = s.dots && s.x.length <= 80;
    for (let i = 0; i < s.x.length; i++) {
      const alone = shown(i) && !(i > 0 && shown(i - 1)) && !(i + 1 < s.x.length && shown(i + 1));
      if (!shown(i) || !(few || alone)) continue;
      g.beginPath();
      g.arc(toX(s.x[i]), toY(s.y[i]), few ? 2.6 : 1.8, 0, 2 * Math.PI);
      g.fill();
    }
    g.globalAlpha = 1;
  }

  marks(g, toX, toY) {
    const x = Math.round(toX(this.cursor)) + 0.5;
    g.strokeStyle = color('--axis');
    g.lineWidth = 1;
    g.setLineDash([3, 3]);
    g.beginPath();
    g.moveTo(x, this.box.top);
    g.lineTo(x, this.box.bottom);
    g.stroke();
    g.setLineDash([]);
    for (const s of this.series) {
      if (s.x.length === 0) continue;
      const i = nearest(s.x, this.cursor);
      if (s.y[i] === null || !Number.isFinite(s.y[i]) || (this.log && s.y[i] <= 0)) continue;
      g.fillStyle = color(s.color);
      g.beginPath();
      g.arc(toX(s.x[i]), toY(s.y[i]), 3.5, 0, 2 * Math.PI);
      g.fill();
    }
  }

  // nameAxis writes the names of layers upwards, every so many as there is room for.
  nameAxis(g, box, labels, toX) {
    g.fillStyle = color('--muted');
    g.textAlign = 'right';
    const every = Math.max(1, Math.ceil((labels.length * 14) / (box.right - box.left)));
    for (let i = 0; i < labels.length; i += every) {
      let text = labels[i];
      while (text.length > 3 && g.measureText(text).width > 86) text = `${text.slice(0, -2)}…`;
      g.save();
      g.translate(toX(i), box.bottom + 7);
      g.rotate(-Math.PI / 2);
      g.fillText(text, 0, 0);
      g.restore();
    }
  }

  // describe writes the legend: the values under the cursor or the last ones.
  describe() {
    const items = [];
    if (this.cursor !== null && this.plot) {
      const at = this.names ? this.labels[this.cursor] : `iteration ${whole(this.cursor)}`;
      items.push(element('li', {}, element('b', {}, at)));
    }
    for (const s of this.series) {
      if (s.x.length === 0) continue;
      let i = s.x.length - 1;
      if (this.cursor !== null) i = nearest(s.x, this.cursor);
      const li = element('li', {}, element('span', {class: `swatch${s.alpha ? ' faint' : ''}${s.dashed ? ' dashed' : ''}`}), s.name);
      li.firstChild.style.color = `var(${s.color})`;
      if (this.cursor !== null || !this.names) li.append(' ', element('b', {}, this.format(s.y[i])));
      items.push(li);
    }
    this.legend.replaceChildren(...items);
  }

  point(px) {
    if (!this.plot || !this.box) return;
    const {left, right} = this.box;
    const {x0, x1} = this.plot;
    this.to(x0 + ((px - left) / (right - left)) * (x1 - x0));
    this.redraw();
  }

  // to puts the cursor on the point nearest to x of any series.
  to(x) {
    let best = null;
    for (const s of this.series) {
      if (s.x.length === 0) continue;
      const v = s.x[nearest(s.x, x)];
      if (best === null || Math.abs(v - x) < Math.abs(best - x)) best = v;
    }
    this.cursor = best;
  }

  move(key) {
    if (!this.plot) return false;
    const step = this.names ? 1 : (this.plot.x1 - this.plot.x0) / 100;
    if (this.cursor === null && key.startsWith('Arrow')) key = 'End';
    const at = this.cursor;
    const next = {ArrowLeft: at - step, ArrowRight: at + step, Home: this.plot.x0, End: this.plot.x1}[key];
    if (next === undefined) return false;
    const before = this.cursor;
    this.to(next);
    if (this.cursor === before && before !== null && key.startsWith('Arrow')) this.neighbour(key === 'ArrowLeft' ? -1 : 1);
    return true;
  }

  // neighbour moves the cursor where points are further apart than a step.
  neighbour(direction) {
    let best = null;
    for (const s of this.series) {
      for (const x of s.x) {
        if ((x - this.cursor) * direction <= 0) continue;
        if (best === null || (x - best) * direction < 0) best = x;
      }
    }
    if (best !== null) this.cursor = best;
  }
}

// ramp is a colour scale from dark to bright with steadily rising lightness, so
// that it reads in both themes and without colour vision: points in RGB.
const ramp = [
  [24, 10, 48], [58, 15, 96], [98, 24, 115], [140, 38, 112], [181, 55, 97],
  [216, 80, 75], [240, 115, 51], [250, 160, 45], [249, 208, 82], [252, 248, 175],
];

function rampColor(t) {
  const x = Math.min(Math.max(t, 0), 1) * (ramp.length - 1);
  const i = Math.min(Math.floor(x), ramp.length - 2);
  return ramp[i].map((v, k) => Math.round(v + (ramp[i + 1][k] - v) * (x - i)));
}

// What has no place on the scale.
const zeroColor = [0, 0, 0];
// What has no finite value, in either theme between the card and the scale.
const voidColor = [150, 150, 150];

// A HeatMap draws one row a layer and one column a sample, on a logarithmic or
// (for shares) linear scale of colours.
export class HeatMap extends Chart {
  constructor({title, links, linear = false}) {
    super({title, height: 200, links});
    this.linear = linear;
    this.rows = [];
    this.iter = [];
  }

  // set shows rows {name, values} over the samples iter.
  set(iter, rows) {
    this.iter = iter.slice();
    this.rows = rows;
    this.redraw();
  }

  scale() {
    if (this.linear) return {lo: 0, hi: 1};
    let [lo, hi] = [Infinity, 0];
    for (const r of this.rows) {
      for (const v of r.values) {
        if (!(v > 0) || !Number.isFinite(v)) continue;
        if (v < lo) lo = v;
        if (v > hi) hi = v;
      }
    }
    if (!(hi > 0)) return null;
    // Three decades at least: small differences shall not look like large ones.
    let [a, b] = [Math.floor(Math.log10(lo)), Math.ceil(Math.log10(hi))];
    a = Math.max(a, b - 15);
    while (b - a < 3) {
      a--;
      if (b - a < 3) b++;
    }
    return {lo: a, hi: b};
  }

  shade(v) {
    if (v === null || v === undefined || !Number.isFinite(v)) return voidColor;
    const {lo, hi} = this.range;
    if (this.linear) return rampColor(v);
    if (v <= 0) return zeroColor;
    return rampColor((Math.log10(v) - lo) / (hi - lo));
  }

  draw() {
    const n = this.rows.length;
    const row = n > 30 ? 12 : n > 16 ? 14 : 17;
    this.row = row;
    const head = 6;
    this.height = Math.max(120, head + n * row + 62);
    const g = this.begin();
    this.range = this.scale();
    if (n === 0 || this.iter.length === 0 || !this.range) {
      this.box = null;
      this.empty(g, 'no samples yet');
      return this.describe();
    }
    g.font = g.font.replace('11.5px', row < 14 ? '10px' : '11px');
    const names = this.rows.map((r) => this.fit(g, r.name, Math.min(110, this.width * 0.28)));
    const left = 8 + Math.max(...names.map((t) => g.measureText(t).width));
    const lasts = this.rows.map((r) => this.format(r.values[r.values.length - 1]));
    const right = this.width - 8 - Math.max(...lasts.map((t) => g.measureText(t).width), 20);
    const box = {left, right, top: head, bottom: head + n * row};
    this.box = box;
    const width = Math.max(1, Math.floor(box.right - box.left));
    const x0 = this.iter[0];
    const x1 = this.iter[this.iter.length - 1];
    const picture = new ImageData(width, n);
    for (let px = 0; px < width; px++) {
      const i = x1 > x0 ? nearest(this.iter, x0 + ((px + 0.5) / width) * (x1 - x0)) : 0;
      for (let r = 0; r < n; r++) {
        const [red, green, blue] = this.shade(this.rows[r].values[i]);
        picture.data.set([red, green, blue, 255], 4 * (r * width + px));
      }
    }
    const buffer = new OffscreenCanvas(width, n);
    buffer.getContext('2d').putImageData(picture, 0, 0);
    g.imageSmoothingEnabled = false;
    g.drawImage(buffer, box.left, box.top, width, n * row);
    g.fillStyle = color('--card');
    if (row >= 14) for (let r = 1; r < n; r++) g.fillRect(box.left, box.top + r * row - 0.5, width, 1);

    g.fillStyle = color('--muted');
    for (let r = 0; r < n; r++) {
      const y = box.top + (r + 0.5) * row;
      g.fillStyle = color(this.cursor && this.cursor.row === r ? '--text' : '--muted');
      g.textAlign = 'right';
      g.fillText(names[r], box.left - 6, y);
      g.textAlign = 'left';
      g.fillText(lasts[r], box.right + 6, y);
    }
    const toX = (v) => box.left + (x1 > x0 ? (v - x0) / (x1 - x0) : 0.5) * width;
    this.xAxis(g, box, x0, x1, toX);
    this.colorBar(g, box);
    if (this.cursor && this.cursor.row < n && this.cursor.i < this.iter.length) {
      g.strokeStyle = color('--text');
      g.lineWidth = 1.5;
      g.strokeRect(box.left, box.top + this.cursor.row * row, width, row);
      const x = Math.round(toX(this.iter[this.cursor.i])) + 0.5;
      g.beginPath();
      g.moveTo(x, box.top);
      g.lineTo(x, box.bottom);
      g.stroke();
    }
    this.describe();
  }

  fit(g, text, width) {
    if (g.measureText(text).width <= width) return text;
    while (text.length > 3 && g.measureText(`${text}…`).width > width) text = text.slice(0, -1);
    return `${text}…`;
  }

  format(v) {
    if (v === null || v === undefined || !Number.isFinite(v)) return '–';
    return this.linear ? `${(100 * v).toFixed(0)} %` : number(v, 2);
  }

  // colorBar draws the scale below the map.
  colorBar(g, box) {
    const y = this.height - 26;
    const {lo, hi} = this.range;
    const left = Math.round(box.left);
    const right = Math.round(Math.min(box.right, left + 320));
    for (let x = left; x < right; x++) {
      g.fillStyle = `rgb(${rampColor((x - left) / (right - left)).join(' ')})`;
      g.fillRect(x, y, 1, 8);
    }
    g.fillStyle = color('--muted');
    g.textAlign = 'center';
    const every = Math.max(1, Math.ceil((hi - lo) / Math.max(2, Math.floor((right - left) / 46))));
    const ticks = this.linear ? [0, 0.5, 1] : [];
    for (let e = lo; !this.linear && e <= hi; e += every) ticks.push(e);
    for (const t of ticks) {
      const text = this.linear ? `${100 * t} %` : number(Number(`1e${t}`), 1);
      g.fillText(text, left + ((t - lo) / (hi - lo)) * (right - left), y + 17);
    }
  }

  describe() {
    if (!this.box || !this.cursor || !this.rows[this.cursor.row]) {
      const swatch = (c, text) => {
        const li = element('li', {}, element('span', {class: 'swatch box'}), text);
        li.firstChild.style.background = `rgb(${c.join(' ')})`;
        return li;
      };
      const items = [];
      const last = this.rows.map((r) => r.values[r.values.length - 1]);
      if (!this.linear && last.some((v) => v === 0)) items.push(swatch(zeroColor, 'exactly 0'));
      if (this.rows.some((r) => r.values.some((v) => v === null || !Number.isFinite(v)))) items.push(swatch(voidColor, 'no finite value'));
      if (items.length === 0) items.push(element('li', {}, 'names and last values beside each row'));
      this.legend.replaceChildren(...items);
      return;
    }
    const {row, i} = this.cursor;
    const r = this.rows[row];
    this.legend.replaceChildren(
      element('li', {}, element('b', {}, r.name)),
      element('li', {}, `iteration ${whole(this.iter[i])}`),
      element('li', {}, element('b', {}, this.linear ? this.format(r.values[i]) : number(r.values[i]))));
  }

  point(px, py) {
    if (!this.box) return;
    const {left, right, top, bottom} = this.box;
    if (py < top || py > bottom) {
      this.cursor = null;
    } else {
      const n = this.iter.length;
      const [x0, x1] = [this.iter[0], this.iter[n - 1]];
      const i = nearest(this.iter, x0 + ((px - left) / (right - left)) * (x1 - x0));
      this.cursor = {row: Math.min(Math.floor((py - top) / this.row), this.rows.length - 1), i};
    }
    this.redraw();
  }

  move(key) {
    if (!this.box) return false;
    const last = this.iter.length - 1;
    const c = this.cursor || {row: 0, i: last};
    const next = {
      ArrowUp: {row: c.row - 1, i: c.i}, ArrowDown: {row: c.row + 1, i: c.i},
      ArrowLeft: {row: c.row, i: c.i - 1}, ArrowRight: {row: c.row, i: c.i + 1},
      Home: {row: c.row, i: 0}, End: {row: c.row, i: last},
    }[key];
    if (!next) return false;
    this.cursor = this.cursor ? {
      row: Math.min(Math.max(next.row, 0), this.rows.length - 1),
      i: Math.min(Math.max(next.i, 0), last),
    } : c;
    return true;
  }
}
