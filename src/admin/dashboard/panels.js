// Tables and cards. Each is drawn anew only when what it shows has changed, so that nothing
// moves under the pointer and no focus is lost.

const shown = new Map();

/** Whether this is news for the panel. */
function changed(panel, data) {
  const text = JSON.stringify(data) ?? '';
  if (shown.get(panel) === text) return false;
  shown.set(panel, text);
  return true;
}

const nothing = (text) => h('p', { class: 'nothing' }, text);

/** columns: [{ head, cell, kind }] with kind 'num' or 'wide'. */
function table(caption, columns, rows) {
  const head = columns.map(({ head: text, kind }) => h('th', { scope: 'col', class: kind }, text));
  const line = (row) => h('tr', {}, ...columns.map(({ head: text, kind, cell }) => {
    const content = cell(row);
    return h('td', { class: kind, 'data-label': text }, ...(Array.isArray(content) ? content : [content]));
  }));
  return h('table', {}, h('caption', { class: 'hidden' }, caption), h('thead', {}, h('tr', {}, ...head)), h('tbody', {}, ...rows.map(line)));
}

const cut = (text, most = 260) => (text.length > most ? `${text.slice(0, most)} …` : text);
const code = (text) => h('code', { title: text.length > 260 ? text : null }, cut(text));

function bar(share) {
  const fill = h('i');
  fill.style.width = `${Math.max(0, Math.min(100, share * 100))}%`;
  return h('span', { class: 'bar', 'aria-hidden': 'true' }, fill);
}

function showShapes(answer) {
  const shapes = answer?.shapes ?? [];
  const total = shapes.reduce((sum, s) => sum + (s.total_ms ?? 0), 0);
  const top = shapes.slice(0, 15);
  say($('shapes-note'), answer ? `by total time · ${top.length} of ${count(answer.total ?? shapes.length)}${answer.dropped ? ` · ${count(answer.dropped)} dropped` : ''}` : '');
  if (!changed('shapes', [answer === null, top])) return;
  if (!answer) return void $('shapes').replaceChildren(nothing('Profiling is switched off.'));
  if (!top.length) return void $('shapes').replaceChildren(nothing('No queries yet. Shapes appear here as soon as an application asks something.'));
  const hits = ({ hit = 0, miss = 0, joined = 0 } = {}) => (hit + miss + joined > 0 ? percent((100 * (hit + joined)) / (hit + miss + joined)) : NONE);
  $('shapes').replaceChildren(table('Shapes of queries by total time', [
    { head: 'Shape', kind: 'wide', cell: (s) => [h('span', { class: 'where' }, `${s.namespace} · ${s.command}`), h('br'), code(s.shape ?? '')] },
    { head: 'Per second', kind: 'num', cell: (s) => count(s.per_second) },
    { head: 'Share of time', kind: 'num', cell: (s) => [percent(total ? (100 * (s.total_ms ?? 0)) / total : 0), bar(total ? s.total_ms / total : 0)] },
    { head: 'p50', kind: 'num', cell: (s) => millis(s.latency_ms?.p50) },
    { head: 'p95', kind: 'num', cell: (s) => millis(s.latency_ms?.p95) },
    { head: 'p99', kind: 'num', cell: (s) => millis(s.latency_ms?.p99) },
    { head: 'From memory', kind: 'num', cell: (s) => hits(s.cache) },
    { head: 'Errors', kind: 'num', cell: (s) => count(s.errors) },
  ], top));
}

function showSlow(answer) {
  const slow = (answer?.slow ?? []).slice(0, 12);
  const limit = answer ? short(millis(answer.threshold_ms)) : '';
  say($('slow-note'), answer ? `over ${limit}, the newest first` : '');
  if (!changed('slow', [answer === null, slow, answer?.threshold_ms])) return;
  if (!answer) return void $('slow').replaceChildren(nothing('The slow log is switched off.'));
  if (!slow.length) return void $('slow').replaceChildren(nothing(`No slow queries over ${limit} yet.`));
  $('slow').replaceChildren(table('Slow queries', [
    { head: 'Query', kind: 'wide', cell: (s) => [h('span', { class: 'where' }, `${s.namespace} · ${s.command}`), h('br'), code(s.text ?? s.shape ?? '')] },
    { head: 'At', kind: 'num', cell: (s) => clock(Date.parse(s.at)) },
    { head: 'Took', kind: 'num', cell: (s) => millis(s.ms) },
    { head: 'Documents', kind: 'num', cell: (s) => count(s.documents) },
    { head: 'Bytes', kind: 'num', cell: (s) => bytes(s.bytes) },
    { head: 'Cache', cell: (s) => s.cache ?? NONE },
    { head: 'Client', cell: (s) => String(s.client ?? NONE) },
  ], slow));
}

/** A command in pieces that stay whole on a line where they fit; as text it is what it was. */
const pieces = (command) => command
  .split(/(?=\.(?:getCollection|\w+Index)\()|(?<=[,{] )|(?= \})/)
  .map((piece) => h('span', { class: 'piece' }, piece));

const advised = new Map();

/** A card, and what brings its figures up to date: so that who copies is never disturbed. */
function adviceCard(a) {
  const copy = h('button', { type: 'button', 'aria-label': `Copy the command for ${a.namespace}` }, 'Copy');
  const code = h('code', {}, ...pieces(a.command ?? ''));
  copy.addEventListener('click', () => copyText(a.command, copy, code));
  const facts = ['Why', 'Effect', 'Cost', 'Time'].map((name) => ({ name, line: h('dd', {}) }));
  const card = h('article', { class: 'card' },
    h('h3', {}, h('span', { class: `tag ${a.action}` }, a.action), h('span', { class: 'name' }, a.namespace), copy),
    h('p', { class: 'command' }, code),
    h('dl', {}, ...facts.flatMap(({ name, line }) => [h('dt', {}, name), line])));
  const fill = (now) => {
    const time = now.calls > 0 ? `${millis(now.time_ms)} in ${count(now.calls)} calls; advised since ${clock(Date.parse(now.since))}` : `Advised since ${clock(Date.parse(now.since))}`;
    for (const [i, text] of [now.why, now.effect, now.cost, time].entries()) say(facts[i].line, text ?? NONE);
  };
  return { card, fill };
}

function showAdvice(answer) {
  const list = answer?.advice ?? [];
  if (changed('advice', [answer === null, list.map((a) => [a.id, a.action, a.command])])) {
    advised.clear();
    for (const a of list) advised.set(a.id, adviceCard(a));
    $('advice-list').replaceChildren(...[...advised.values()].map(({ card }) => card));
  }
  for (const a of list) advised.get(a.id)?.fill(a);
  if (list.length || !changed('advice-none', [answer === null, answer?.explained, advised.size])) return;
  const explained = answer?.explained ? ` ${count(answer.explained)} queries were explained so far.` : '';
  const text = answer ? `No index would help what is asked at the moment.${explained}` : 'Advice is switched off.';
  $('advice-list').replaceChildren(h('div', { class: 'card muted' }, text));
}

async function copyText(text, button, shownAs) {
  let done = 'Copied';
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without HTTPS there is no clipboard but on localhost: select it for the user's own hand.
    const range = document.createRange();
    range.selectNodeContents(shownAs);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    done = 'Selected';
  }
  say(button, done);
  say($('copied'), `${done}: ${text}`);
  setTimeout(() => say(button, 'Copy'), 1600);
}

function showServers(status) {
  const servers = status.upstream?.servers ?? [];
  if (!changed('servers', servers.map((s) => [s.address, s.role, s.breaker, s.error, Math.round((s.rtt_us ?? 0) / 100)]))) return;
  if (!servers.length) return void $('servers').replaceChildren(nothing('No server is known yet.'));
  $('servers').replaceChildren(table('Servers', [
    { head: 'Server', cell: (s) => s.address },
    { head: 'Role', cell: (s) => s.role ?? 'not reached' },
    { head: 'Round trip', kind: 'num', cell: (s) => micros(s.rtt_us) },
    { head: 'Breaker', cell: (s) => (s.breaker ?? NONE).replace('_', ' ') },
    { head: 'Last error', cell: (s) => h('span', { class: s.error ? 'warn' : 'muted' }, s.error ?? 'none') },
  ], servers));
}

/** Counts since the start that need no picture; what this proxy doesn't count is left out. */
function showFacts(id, facts) {
  const told = facts.filter(([, value]) => known(value));
  if (!changed(id, told)) return;
  $(id).replaceChildren(...told.map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, count(value)))));
}

function showCounts(status) {
  const { retry, admission, rewrite, profile } = status;
  showFacts('upstream-facts', [
    ['Reads retried', retry?.read_retries], ['Writes retried', retry?.write_retries],
    ['Retried for overload', retry?.overload_retries], ['Gave up', retry?.gave_up],
    ['Retry budget', known(retry?.budget_tokens) ? Math.floor(retry.budget_tokens) : null],
    ['Queued for admission', admission?.queued], ['Refused', admission?.rejected], ['Limit', admission?.limit]]);
  const rules = Object.entries(rewrite?.by_rule ?? {}).filter(([, n]) => n > 0).map(([rule, n]) => [rule.replaceAll('_', ' '), n]);
  showFacts('query-facts', [
    ['Slow so far', profile?.slow], ['Rewritten', rewrite?.rewritten], ...rules]);
}

/** Named counts, the biggest first. */
function showReasons(id, reasons, empty) {
  const list = Object.entries(reasons ?? {}).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
  if (!changed(id, list)) return;
  if (!list.length) return void $(id).replaceChildren(nothing(empty));
  const total = list.reduce((sum, [, n]) => sum + n, 0);
  $(id).replaceChildren(h('div', { class: 'sheet' }, table('Reasons', [
    { head: 'Reason', cell: ([why]) => why.replaceAll('_', ' ') },
    { head: 'Times', kind: 'num', cell: ([, n]) => count(n) },
    { head: 'Share', kind: 'num', cell: ([, n]) => [percent((100 * n) / total), bar(n / total)] },
  ], list)));
}

const PARTS = [['cache', 'Cache'], ['buffers', 'Buffers'], ['other', 'Other'], ['allocator_free', 'Kept by the allocator']];

function showMemory(answer, slot) {
  if (!answer || !changed('memory', answer)) return;
  const parts = PARTS.map(([key, label], i) => ({ label, i, size: answer.parts?.[key] })).filter(({ size }) => known(size));
  const total = parts.reduce((sum, p) => sum + p.size, 0) || 1;
  const strips = parts.map(({ i, size }) => {
    const strip = h('i', { class: `p${i}` });
    strip.style.flexGrow = size / total;
    return strip;
  });
  const trend = answer.trend_bytes_per_min;
  const steady = !known(trend) || Math.abs(trend) < 256 * 1024;
  const words = steady ? 'Steady: what is neither cache nor buffers doesn’t grow.'
    : `What is neither cache nor buffers ${trend > 0 ? 'grows' : 'shrinks'} by ${bytes(Math.abs(trend))} a minute.`;
  const leak = answer.leak && `Suspected leak: ${answer.leak.kind}, since ${clock(Date.parse(answer.leak.since))}, ${bytes(answer.leak.bytes_per_min)} a minute.`;
  const objects = (answer.objects ?? []).filter((o) => o.live > 0);
  slot.replaceChildren(
    h('h3', {}, `${bytes(answer.rss)}${answer.limit ? ` of ${bytes(answer.limit)}` : ''} `, h('span', { class: 'muted' }, `pressure: ${answer.pressure ?? 'unknown'}`)),
    h('div', { class: 'parts', 'aria-hidden': 'true' }, ...strips),
    h('dl', { class: 'legend' }, ...parts.map(({ label, i, size }) => h('div', {}, h('i', { class: `p${i}` }), h('dt', {}, label), h('dd', {}, bytes(size))))),
    h('p', { class: leak ? 'warn' : 'muted' }, leak || words),
    objects.length ? table('Live objects', [
      { head: 'Live objects', cell: (o) => o.kind.replaceAll('_', ' ') },
      { head: 'Number', kind: 'num', cell: (o) => count(o.live) },
      { head: 'Oldest', kind: 'num', cell: (o) => millis(o.oldest_ms) },
    ], objects) : null ?? '');
}

function showConfig(config) {
  if (!config || !changed('config', config)) return;
  const value = (v) => (v === '' ? h('span', { class: 'muted' }, 'not set') : typeof v === 'object' ? JSON.stringify(v) : String(v));
  const flat = (entries, prefix = '') => Object.entries(entries).flatMap(([key, v]) => (
    v && typeof v === 'object' && !Array.isArray(v) ? flat(v, `${prefix}${key}.`) : [[`${prefix}${key}`, v]]));
  const tables = Object.entries(config).filter(([, v]) => typeof v === 'object' && !Array.isArray(v));
  $('config-list').replaceChildren(...tables.map(([name, entries]) => h('div', { class: 'card' },
    h('h3', {}, `[${name}]`),
    h('dl', {}, ...flat(entries).flatMap(([key, v]) => [h('dt', {}, key), h('dd', {}, value(v))])))));
}
