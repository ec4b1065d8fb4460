// The page: what is drawn where, and the beat that drives it.

const store = new Store();
let status = {};
let span = 600;
let link = 'starting';
let leak = null;

const sum = (...names) => (get) => {
  const values = names.map(get).filter(known);
  return values.length ? values.reduce((a, b) => a + b, 0) : null;
};
const one = (name) => (get) => get(name);
const ratio = (get) => {
  const hits = get('cache_hits');
  const all = known(hits) ? hits + (get('cache_misses') ?? 0) + (get('cache_joins') ?? 0) : 0;
  return all > 0 ? (100 * (hits + (get('cache_joins') ?? 0))) / all : null;
};

const CHARTS = [
  ['traffic', { title: 'Requests per second', format: rate, series: [
    { label: 'From memory', of: one('hits') }, { label: 'Reads from a server', of: one('reads') }, { label: 'Writes', of: one('writes') }] }],
  ['traffic', { title: 'Latency, median', format: micros, from: 'log', empty: 'No requests in this time', series: [
    { label: 'From memory', of: one('hit_p50_us') }, { label: 'Reads from a server', of: one('read_p50_us') }, { label: 'Writes', of: one('write_p50_us') }] }],
  ['traffic', { title: 'Latency, 99th percentile', format: micros, from: 'log', empty: 'No requests in this time', peaks: true, series: [
    { label: 'From memory', of: one('hit_p99_us') }, { label: 'Reads from a server', of: one('read_p99_us') }, { label: 'Writes', of: one('write_p99_us') }] }],
  ['traffic', { title: 'Clients and links', format: count, peaks: true, series: [
    { label: 'Clients', of: one('clients') },
    { label: 'Links in use', of: (get) => (known(get('links')) ? get('links') - (get('idle_links') ?? 0) : null) },
    { label: 'Waiting for a link', of: one('waiting') }] }],
  ['cache', { title: 'Hit ratio of reads that can be cached', format: percent, most: 100, least: 100, empty: 'No reads in this time', series: [
    { label: 'From memory', of: ratio }] }],
  ['cache', { title: 'Invalidations per second', format: rate, series: [
    { label: 'Writes that may change answers', of: one('invalidations') }, { label: 'Events of the change stream', of: one('watch_events') }] }],
  ['cache', { title: 'Inserts, and the commands they leave in', format: rate, series: [
    { label: 'Inserts of clients', of: one('batched_writes') }, { label: 'Commands sent', of: one('batch_commands') }] }],
  ['cache', { title: 'Inserts per command', format: count, least: 2, empty: 'No inserts in this time', series: [
    { label: 'Batch size, mean', of: (get) => (get('batch_commands') > 0 ? get('batched_writes') / get('batch_commands') : null) },
    { label: 'Waiting', of: one('batch_waiting') }] }],
  ['upstream', { title: 'Retries and failures per second', format: rate, series: [
    { label: 'Retries', of: sum('read_retries', 'write_retries', 'overload_retries') },
    { label: 'Gave up', of: one('gave_up') }, { label: 'Errors of the proxy’s own', of: one('failures') }] }],
  ['upstream', { title: 'Lag of the change stream', format: millis, peaks: true, least: 100, empty: 'No change stream is watched', series: [
    { label: 'Behind the primary', of: one('lag_ms') }] }],
  ['memory', { title: 'Memory of the process', format: bytes, binary: true, least: 1048576, limit: '/memory/limit', series: [
    { label: 'Resident', of: one('rss') }, { label: 'Cache', of: one('cache_bytes') }, { label: 'Neither cache nor buffers', of: one('other_bytes') }] }],
];

const cursor = {
  at: null,
  move(at) {
    if (this.at === at) return;
    this.at = at;
    for (const chart of charts) chart.draw();
  },
};
const charts = CHARTS.map(([section, spec]) => new Chart(spec, $(`charts-${section}`), cursor));
const memoryCard = h('div', { class: 'card memory-card' }, h('p', { class: 'muted' }, 'Waiting for the first measurement'));
$('charts-memory').append(memoryCard);

const TILES = [
  { name: 'Requests', value: () => split(count(store.recent('requests')), 'per second'), sub: () => `${count(status.clients?.open)} clients on ${count(status.pool?.links)} links` },
  { name: 'From memory', value: () => split(percent(ratio(store.recent.bind(store)))), sub: () => `${count(status.cache?.entries)} answers, ${bytes(status.cache?.bytes)}` },
  { name: 'A hit takes', value: () => split(micros(store.recent('hit_p50_us'))), sub: () => `p99 ${micros(store.recent('hit_p99_us'))}` },
  { name: 'A read from a server', value: () => split(micros(store.recent('read_p50_us'))), sub: () => `p99 ${micros(store.recent('read_p99_us'))}` },
  { name: 'A write takes', value: () => split(micros(store.recent('write_p50_us'))), sub: () => `p99 ${micros(store.recent('write_p99_us'))}` },
  { name: 'Memory', value: () => split(bytes(status.memory?.rss)), sub: () => (status.memory?.limit ? `of ${bytes(status.memory.limit)}, ` : '') + (status.memory?.pressure ?? '') },
];
/** "3.2 ms" as a number and its smaller unit. */
const split = (text, unit) => { const [n, u] = text.split(' '); return [n, unit ?? u ?? '']; };
const tiles = TILES.map((tile) => {
  const value = h('span', {});
  const unit = h('span', { class: 'unit' });
  const sub = h('p', { class: 'sub' });
  $('tiles').append(h('div', { class: 'tile' }, h('p', { class: 'name' }, tile.name), h('p', { class: 'value' }, value, unit), sub));
  return () => {
    const [n, u] = tile.value();
    say(value, n);
    say(unit, u);
    say(sub, tile.sub());
  };
});

/** What a person should look at now. */
function worries() {
  const list = [];
  const { upstream, watch, cache, memory, fences } = status;
  for (const { worker, seconds } of status.workers?.stuck ?? []) {
    list.push(`Worker ${worker} has stood still for ${seconds} s: its clients wait. The log says which request it is at.`);
  }
  for (const server of upstream?.servers ?? []) {
    if (server.breaker === 'open') list.push(`${server.address}: the breaker is open; requests are not sent there until it answers again.`);
    else if (server.error) list.push(`${server.address} can’t be reached: ${server.error}`);
  }
  if (watch?.state === 'blind') list.push('The change stream is down: nothing is served from memory until it is back.');
  if (cache?.shadow?.mismatches > 0) list.push(`${count(cache.shadow.mismatches)} answers from memory differed from the server’s own. Please report this.`);
  if (leak) list.push(`A leak is suspected: ${leak.kind} grow without an end. See Memory.`);
  if (memory?.pressure === 'critical') list.push('Memory is critical: large new work is refused.');
  if (memory?.pressure === 'tight') list.push('Memory is tight: the cache gives way.');
  if (fences?.quarantined > 0) list.push(`${count(fences.quarantined)} writes of unknown outcome keep their collections uncached for a while.`);
  if (status.pool?.waiting > 0 && store.recent('waiting', 10) >= 1) list.push('Requests wait for links: upstream.max_links is reached.');
  if (status.draining) list.push('The proxy is draining: it takes no new clients.');
  return list;
}

function showWorries() {
  const list = link === 'lost' ? ['The proxy doesn’t answer. These are the last figures that came; the page tries again by itself.'] : worries();
  if (!changed('worries', list)) return;
  const text = status.version ? 'Nothing needs attention' : '';
  $('attention').replaceChildren(list.length ? h('ul', {}, ...list.map((w) => h('li', {}, w))) : h('p', { class: text ? 'well' : '' }, text));
}

function showLink() {
  document.documentElement.dataset.link = link;
  const last = store.last ? `, last data at ${clock(store.last)}` : '';
  const texts = { starting: 'Connecting…', live: 'Live', lost: `Disconnected${last}` };
  say($('link-text'), texts[link]);
}

const NAMES = { single: 'standalone', 'replica-set': 'replica set', sharded: 'sharded cluster', unknown: 'no server reached yet' };

function draw() {
  const end = link === 'live' ? store.last ?? Date.now() : Date.now();
  const start = end - span * 1000;
  const data = store.span(start, span > FINE);
  for (const chart of charts) {
    const { limit } = chart.spec;
    if (limit) chart.limit = limit.slice(1).split('/').reduce((at, key) => at?.[key], status);
    chart.show(data, start, end);
  }
  for (const tile of tiles) tile();
  showLink();
  if (!status.version) return;
  showWorries();
  showServers(status);
  showCounts(status);
  showReasons('bypasses', status.cache?.bypass_reasons, 'None has.');
  showReasons('alone', status.batch?.sent_alone, 'None has.');
  say($('place'), NAMES[status.upstream?.deployment] ?? '');
  say($('foot'), `Petiole ${status.version} · figures of /api/status, /api/history and /metrics · in the terminal: petiole top`);
}

const live = new Live({
  history(history) { store.load(history); draw(); },
  event(event) {
    store.push(event.at, event.sample);
    status = event.status;
    draw();
  },
  state(state) { link = state; draw(); if (state === 'live') lists(); },
});

/** What changes slowly is asked for slowly, and not at all by a page that nobody sees. */
async function lists() {
  if (document.hidden || link !== 'live') return;
  try {
    const [shapes, slow, advice, memory] = await Promise.all(['shapes', 'slow', 'advice', 'memory'].map((name) => live.json(`/api/${name}`)));
    showShapes(shapes);
    showSlow(slow);
    showAdvice(advice);
    leak = memory?.leak ?? null;
    showMemory(memory, memoryCard);
    showConfig(await live.json('/api/config'));
    if (span > FINE) store.load(await live.json('/api/history'));
  } catch {
    // The connection is lost, and the page says so.
  }
}

const THEMES = ['system', 'light', 'dark'];
function theme(name) {
  if (name === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  $('theme').setAttribute('aria-label', `Colours: ${name === 'system' ? 'as the system' : name}`);
  $('theme').title = $('theme').getAttribute('aria-label');
}
$('theme').addEventListener('click', () => {
  const now = localStorage.getItem('petiole-theme') ?? 'system';
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
  localStorage.setItem('petiole-theme', next);
  theme(next);
});
theme(localStorage.getItem('petiole-theme') ?? 'system');

for (const input of document.querySelectorAll('input[name=range]')) {
  input.addEventListener('change', () => { span = Number(input.value); draw(); lists(); });
}
new ResizeObserver(() => { for (const chart of charts) chart.draw(); }).observe($('main'));
document.addEventListener('visibilitychange', lists);
setInterval(lists, 5000);
setInterval(() => { if (link === 'lost') draw(); }, 1000);
draw();
live.run();
