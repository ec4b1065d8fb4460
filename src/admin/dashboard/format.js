// Numbers as people read them. Everything unknown is an en dash.

const NONE = '–';
const known = (v) => v !== null && v !== undefined && Number.isFinite(v);

/** Three digits that count: 0.42, 4.2, 42, 420, 4,200, 42.1k, 4.21M. */
function count(v) {
  if (!known(v)) return NONE;
  const n = Math.abs(v);
  if (n >= 1e9) return `${(v / 1e9).toPrecision(3)}G`;
  if (n >= 1e6) return `${(v / 1e6).toPrecision(3)}M`;
  if (n >= 1e4) return `${(v / 1e3).toPrecision(3)}k`;
  if (n >= 100 || Number.isInteger(v)) return Math.round(v).toLocaleString('en');
  return n >= 10 ? v.toFixed(1) : String(+v.toFixed(2));
}
const rate = (v) => (known(v) ? `${count(v)}/s` : NONE);

/** A time, from microseconds. */
function micros(v) {
  if (!known(v)) return NONE;
  if (v >= 1e6) return `${(v / 1e6).toPrecision(3)} s`;
  if (v >= 1e3) return `${(v / 1e3).toPrecision(3)} ms`;
  return `${v >= 100 ? Math.round(v) : v.toPrecision(2)} µs`;
}
const millis = (v) => (known(v) ? (v === 0 ? '0 ms' : micros(v * 1e3)) : NONE);

function bytes(v) {
  if (!known(v)) return NONE;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let i = 0;
  let n = Math.abs(v);
  while (n >= 1000 && i < units.length - 1) { n /= 1024; i += 1; }
  const text = i === 0 || n >= 100 ? Math.round(n) : n.toPrecision(3);
  return `${v < 0 ? '−' : ''}${text} ${units[i]}`;
}
const percent = (v) => (known(v) ? `${v >= 99.95 || v === 0 ? v.toFixed(0) : v.toFixed(1)} %` : NONE);
const clock = (ms) => new Date(ms).toLocaleTimeString('en-GB');
const minute = (ms) => new Date(ms).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' });

function ago(time) {
  const s = Math.max(0, (Date.now() - Date.parse(time)) / 1000);
  if (!Number.isFinite(s)) return NONE;
  if (s < 90) return `${Math.round(s)} s ago`;
  if (s < 5400) return `${Math.round(s / 60)} min ago`;
  return s < 129600 ? `${Math.round(s / 3600)} h ago` : `${Math.round(s / 86400)} d ago`;
}

/** An element with attributes and children; text is never taken for markup. */
function h(tag, attributes = {}, ...children) {
  const space = SVG_TAGS.has(tag) ? 'http://www.w3.org/2000/svg' : 'http://www.w3.org/1999/xhtml';
  const element = document.createElementNS(space, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.filter((c) => c !== null && c !== undefined));
  return element;
}
const SVG_TAGS = new Set(['svg', 'g', 'path', 'line', 'rect', 'circle', 'text']);
const $ = (id) => document.getElementById(id);
/** Changes an element's text only if it is another: no work, no flicker. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
