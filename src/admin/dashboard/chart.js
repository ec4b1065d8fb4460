// A chart over time: SVG, a crosshair by mouse, touch or arrow keys, and a table for those who
// don't see it. All charts share one crosshair, so that causes and effects line up.

const LEFT = 52;
const BOTTOM = 20;
const TOP = 6;

class Chart {
  /** spec: { title, format, series: [{ name, label, of }], from: 'zero' | 'log', limit, empty } */
  constructor(spec, parent, cursor) {
    this.spec = spec;
    this.cursor = cursor;
    this.when = h('span', { class: 'when' });
    this.values = spec.series.map(() => h('dd', {}, NONE));
    const keys = spec.series.map((series, i) => h('div', {},
      h('dt', {}, h('svg', { class: 'key', viewBox: '0 0 16 8', 'aria-hidden': 'true' },
        h('path', { d: 'M0 4H16', class: `line s${i}` })), series.label), this.values[i]));
    this.svg = h('svg', { 'aria-hidden': 'true' });
    this.note = h('div', { class: 'empty' });
    this.plot = h('div', {
      class: 'plot', tabindex: '0', role: 'slider', 'aria-label': `${spec.title}: point in time, by arrow keys`,
      'aria-valuemin': '0', 'aria-valuemax': '100', 'aria-valuenow': '100',
    }, this.svg, this.note);
    this.body = h('div');
    this.table = h('details', {}, h('summary', { 'aria-label': `${spec.title} as a table` }, 'Table'), this.body);
    parent.append(h('figure', { class: 'chart' },
      h('header', {}, h('h3', {}, spec.title), this.when),
      h('dl', { class: 'readout' }, ...keys), this.plot, this.table));
    this.listen();
  }

  listen() {
    const at = (event) => {
      const box = this.plot.getBoundingClientRect();
      const share = (event.clientX - box.left - LEFT) / (box.width - LEFT);
      this.cursor.move(this.start + Math.min(1, Math.max(0, share)) * (this.end - this.start));
    };
    this.plot.addEventListener('pointermove', at);
    this.plot.addEventListener('pointerdown', at);
    this.plot.addEventListener('pointerleave', () => this.cursor.move(null));
    this.plot.addEventListener('blur', () => this.cursor.move(null));
    this.table.addEventListener('toggle', () => this.draw());
    this.plot.addEventListener('keydown', (event) => {
      const step = this.step * (event.shiftKey ? 10 : 1);
      const last = this.at[this.at.length - 1];
      const now = this.cursor.at ?? last;
      const to = { ArrowLeft: now - step, ArrowRight: now + step, Home: this.at[0], End: last, Escape: null };
      if (!(event.key in to)) return;
      event.preventDefault();
      const wanted = to[event.key];
      this.cursor.move(wanted === null ? null : Math.min(last, Math.max(this.start, wanted)));
    });
  }

  /** New data; `now` is the right edge. */
  show(data, start, end) {
    Object.assign(this, { start, end });
    const columns = this.spec.series.map((series) => data.at.map((_, i) => series.of((name) => data.series[name]?.[i] ?? null)));
    Object.assign(this, calmed(data.at, columns, data.step, (end - start) / 150, this.spec.peaks));
    this.draw();
  }

  draw() {
    if (!this.at) return;
    const { width, height } = this.plot.getBoundingClientRect();
    if (!width) return;
    const right = width;
    const floor = height - BOTTOM;
    const all = this.columns.flat().filter(known);
    const scale = this.spec.from === 'log' ? logScale(all, floor) : zeroScale(all, floor, this.spec);
    const x = (t) => LEFT + ((t - this.start) / (this.end - this.start)) * (right - LEFT);
    const parts = [];
    const last = this.at[this.at.length - 1];
    if (last && this.end - last > 3 * this.step) {
      parts.push(h('rect', { class: 'lost', x: x(last), y: TOP, width: Math.max(0, right - x(last)), height: floor - TOP }));
    }
    const lines = h('g', { class: 'grid' });
    const labels = h('g');
    for (const tick of scale.ticks) {
      const y = Math.round(scale.y(tick)) + 0.5;
      lines.append(h('line', { x1: LEFT, x2: right, y1: y, y2: y }));
      labels.append(h('text', { x: LEFT - 8, y: y + 4, 'text-anchor': 'end' }, short(this.spec.format(tick))));
    }
    for (const { t, text } of timeTicks(this.start, this.end, right - LEFT)) {
      labels.append(h('text', { x: x(t), y: height - 4, 'text-anchor': 'middle' }, text));
    }
    parts.push(lines, labels, h('line', { class: 'base', x1: LEFT, x2: right, y1: floor + 0.5, y2: floor + 0.5 }));
    if (known(this.limit) && this.limit <= scale.max) {
      const y = scale.y(this.limit);
      parts.push(h('line', { class: 'limit', x1: LEFT, x2: right, y1: y, y2: y }));
    }
    for (let i = this.columns.length - 1; i >= 0; i -= 1) {
      const { line, area } = this.path(this.columns[i], x, scale.y, floor);
      if (i === 0 && this.spec.from !== 'log') parts.push(h('path', { class: 'area', d: area }));
      parts.push(h('path', { class: `line s${i}`, d: line }));
    }
    const index = this.cursorIndex();
    if (this.cursor.at !== null && index >= 0) {
      const at = x(this.at[index]);
      parts.push(h('line', { class: 'cross', x1: at, x2: at, y1: TOP, y2: floor }));
      this.columns.forEach((column, i) => {
        if (known(column[index])) parts.push(h('circle', { class: `spot s${i}`, cx: at, cy: scale.y(column[index]), r: 3.5 }));
      });
    }
    this.svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
    this.svg.replaceChildren(...parts);
    say(this.note, all.length ? '' : this.spec.empty ?? 'No data yet');
    this.read(index);
    if (this.table.open) this.tabulate();
  }

  /** A line that is interrupted where data is missing. */
  path(column, x, y, floor) {
    let line = '';
    let area = '';
    let from = null;
    let before = null;
    const close = (until) => { if (from !== null) area += `L${until} ${floor}L${from} ${floor}Z`; from = null; };
    this.at.forEach((t, i) => {
      const gap = before !== null && t - before > 2.6 * this.step;
      if (!known(column[i]) || gap) close(before === null ? 0 : x(before).toFixed(1));
      if (!known(column[i])) { before = t; return; }
      const point = `${x(t).toFixed(1)} ${y(column[i]).toFixed(1)}`;
      if (from === null) { from = x(t).toFixed(1); line += `M${point}`; area += `M${from} ${floor}L${point}`; }
      else { line += `L${point}`; area += `L${point}`; }
      before = t;
    });
    close(before === null ? 0 : x(before).toFixed(1));
    return { line, area };
  }

  cursorIndex() {
    const { at } = this;
    if (this.cursor.at === null) return at.length - 1;
    let best = -1;
    for (let i = 0; i < at.length; i += 1) {
      if (best < 0 || Math.abs(at[i] - this.cursor.at) < Math.abs(at[best] - this.cursor.at)) best = i;
    }
    return best;
  }

  /** The values under the crosshair, or the newest. */
  read(index) {
    const t = this.at[index];
    const chosen = this.cursor.at !== null && t !== undefined;
    say(this.when, chosen ? clock(t) : '');
    const texts = this.columns.map((column) => this.spec.format(column[index]));
    texts.forEach((text, i) => say(this.values[i], text));
    if (t === undefined) return;
    const span = Math.max(1, this.end - this.start);
    this.plot.setAttribute('aria-valuenow', Math.round(((t - this.start) / span) * 100));
    if (document.activeElement === this.plot || !this.plot.hasAttribute('aria-valuetext')) {
      const spoken = this.spec.series.map((series, i) => `${series.label} ${texts[i]}`);
      this.plot.setAttribute('aria-valuetext', `${clock(t)}: ${spoken.join(', ')}`);
    }
  }

  /** At most twelve points, the newest first. */
  tabulate() {
    const { at } = this;
    const every = Math.max(1, Math.floor(at.length / 12));
    const rows = [];
    for (let i = at.length - 1; i >= 0 && rows.length < 12; i -= every) {
      rows.push(h('tr', {}, h('th', { scope: 'row' }, clock(at[i])), ...this.columns.map((c) => h('td', { class: 'num' }, this.spec.format(c[i])))));
    }
    const head = h('tr', {}, h('th', { scope: 'col' }, 'Time'), ...this.spec.series.map((s) => h('th', { scope: 'col', class: 'num' }, s.label)));
    this.body.replaceChildren(h('table', {}, h('caption', { class: 'hidden' }, this.spec.title), h('thead', {}, head), h('tbody', {}, ...rows)));
  }
}

/** Seconds gathered into steps of the clock, so that a line is calm and its past never changes:
    their mean, or their highest where peaks matter. */
function calmed(at, columns, step, wanted, peaks) {
  const width = Math.max(step, Math.round(wanted / 1000) * 1000);
  const all = { at: [], columns: columns.map(() => []), step: width };
  for (let i = 0; i < at.length;) {
    const slot = Math.floor(at[i] / width);
    let to = i;
    while (to < at.length && Math.floor(at[to] / width) === slot) to += 1;
    all.at.push(at[to - 1]);
    columns.forEach((column, c) => {
      const values = column.slice(i, to).filter(known);
      const sum = values.reduce((a, b) => a + b, 0);
      all.columns[c].push(values.length ? (peaks ? Math.max(...values) : sum / values.length) : null);
    });
    i = to;
  }
  return all;
}

/** "10.0 ms" on an axis is "10 ms". */
const short = (text) => text.replace(/\.0+(?=\D|$)/, '').replace(/(\.\d*?)0+(?=\D|$)/, '$1');

function zeroScale(values, floor, spec) {
  const top = Math.max(spec.least ?? 1, ...values);
  const step = niceStep(top / 3, spec.binary);
  const max = spec.most ?? Math.ceil(top / step - 1e-9) * step;
  const y = (v) => floor - (Math.min(v, max) / max) * (floor - TOP);
  const ticks = [];
  for (let v = 0; v <= max * 1.0001; v += step) ticks.push(v);
  return { y, ticks, max };
}

/** Powers of ten; at least two decades, so that small changes look small. */
function logScale(values, floor) {
  const positive = values.filter((v) => v > 0);
  let low = Math.floor(Math.log10(Math.min(...positive, 100)));
  const high = Math.max(low + 2, Math.ceil(Math.log10(Math.max(...positive, 1)) - 1e-9));
  if (!Number.isFinite(low)) low = 0;
  const y = (v) => floor - ((Math.log10(Math.max(v, 10 ** low)) - low) / (high - low)) * (floor - TOP);
  const ticks = [];
  for (let e = low; e <= high; e += 1) ticks.push(10 ** e);
  return { y, ticks, max: 10 ** high };
}

function niceStep(rough, binary) {
  const base = binary ? 1024 ** Math.floor(Math.log(Math.max(rough, 1)) / Math.log(1024)) : 10 ** Math.floor(Math.log10(rough));
  const steps = binary ? [1, 2, 4, 5, 8, 10, 16, 20, 32, 50, 64, 100, 128, 200, 256, 500, 512, 1024] : [1, 2, 2.5, 5, 10];
  return base * (steps.find((s) => s * base >= rough) ?? steps[steps.length - 1]);
}

function timeTicks(start, end, width) {
  const steps = [15, 30, 60, 120, 300, 600, 1200, 1800, 3600].map((s) => s * 1000);
  const step = steps.find((s) => ((end - start) / s) * 64 <= width) ?? 3600000;
  const ticks = [];
  for (let t = Math.ceil((start + step * 0.2) / step) * step; t <= end - (26 / width) * (end - start); t += step) {
    ticks.push({ t, text: step < 60000 ? clock(t) : minute(t) });
  }
  return ticks;
}
