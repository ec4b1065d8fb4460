// The dashboard in a real browser, before a proxy under load.
//
// Usage: node dashboard.mjs CHROMIUM URL PID [TOKEN]
//
// PID is the proxy's: the last section ends it, to see what the page says then.
// Prints "ok <section>" per section and "all N sections ok" at the end.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const { chromium } = createRequire(import.meta.url)('playwright-core');
const [executablePath, url, pid, token] = process.argv.slice(2);
const LATE = 20000;

const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, permissions: ['clipboard-read', 'clipboard-write'] });
const page = await context.newPage();
page.setDefaultTimeout(LATE);

const outside = [];
const complaints = [];
page.on('request', (request) => {
  if (!request.url().startsWith(url) && !request.url().startsWith('data:')) outside.push(request.url());
});
page.on('pageerror', (error) => complaints.push(error.stack));
page.on('console', (message) => {
  // A refused token and a proxy that is gone are part of the test.
  if (message.type() === 'error' && !message.text().includes('Failed to load resource')) complaints.push(message.text());
});

const text = (selector) => page.locator(selector).first().innerText();
const live = () => page.waitForFunction(() => document.documentElement.dataset.link === 'live');
const points = () => page.locator('#charts-traffic .plot .line.s0').first().getAttribute('d').then((d) => (d ?? '').split('L').length);

const sections = {
  async 'the page asks for the token once, and says if it was wrong'() {
    await page.goto(url);
    if (!token) return;
    const dialog = page.getByRole('dialog');
    await dialog.waitFor();
    await page.getByLabel('Token', { exact: true }).fill('not it');
    await page.getByRole('button', { name: 'Open the dashboard' }).click();
    await page.getByText('That wasn’t the token').waitFor();
    await page.getByLabel('Token', { exact: true }).fill(token);
    await page.getByRole('button', { name: 'Open the dashboard' }).click();
    await live();
    await page.reload();
    await live();
    assert.equal(await dialog.isVisible(), false, 'asked again after a reload');
    assert.ok(!(await page.content()).includes(token), 'the token is in the page');
  },

  async 'figures are live'() {
    await live();
    assert.equal(await text('#link-text'), 'Live');
    await page.waitForFunction(() => /[1-9]/.test(document.querySelector('.tile .value').textContent));
    const before = await points();
    await page.waitForFunction(() => /[0-9]/.test(document.querySelectorAll('.tile .value')[2].textContent));
    await page.getByText('Nothing needs attention').waitFor();
    await page.waitForTimeout(6000);
    assert.ok((await points()) > before || before >= 150, 'the curve grows');
  },

  async 'shapes, slow queries, servers, memory and configuration are shown'() {
    await page.locator('#shapes td', { hasText: 'dashboard' }).first().waitFor();
    await page.locator('#slow td', { hasText: 'dashboard' }).first().waitFor();
    await page.locator('#servers td', { hasText: 'primary' }).first().waitFor();
    await page.locator('#config-list', { hasText: 'max_links' }).waitFor();
    assert.ok((await text('#advice-list')).length > 0, 'advice or a word on why there is none');
    assert.ok(!(await page.locator('body').innerText()).includes('secret'), 'no secret is shown');
  },

  async 'advice has the command, which is copied whole, and leaves who copies alone'() {
    const card = page.locator('#advice-list article', { hasText: 'orders_of_all' }).first();
    await card.waitFor({ timeout: 3 * LATE });
    const command = (await card.locator('code').textContent()).trim();
    assert.match(command, /^db\.getSiblingDB\("dashboard_\d+"\)\.getCollection\("orders_of_all_regions_and_all_seasons"\)\.createIndex\(\{ "customer": 1, "total": -?1 \}\)$/);
    for (const part of ['Why', 'Effect', 'Cost', 'Time']) assert.ok((await card.innerText()).includes(part), part);
    const copy = card.getByRole('button', { name: /^Copy the command/ });
    await copy.focus();
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.activeElement.textContent === 'Copied');
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), command);
    const figures = card.locator('dd').last();
    const before = await figures.innerText();
    await page.waitForFunction((was) => ![...document.querySelectorAll('#advice-list dd')].some((e) => e.innerText === was), before);
    assert.equal(await copy.evaluate((button) => button === document.activeElement), true, 'the focus is lost');
  },

  async 'a reload keeps the past'() {
    const before = await points();
    await page.reload();
    await live();
    await page.waitForFunction((n) => document.querySelector('#charts-traffic .plot .line.s0').getAttribute('d').split('L').length >= n, before - 1);
  },

  async 'a chart can be read with the keyboard and as a table'() {
    const plot = page.getByRole('slider', { name: /Requests per second/ });
    await plot.focus();
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('ArrowLeft');
    await page.waitForFunction(() => /\d\d:\d\d:\d\d: From memory/.test(document.activeElement.getAttribute('aria-valuetext')));
    assert.match(await text('.chart .when'), /\d\d:\d\d:\d\d/);
    await page.keyboard.press('Escape');
    await page.locator('.chart summary').first().click();
    const rows = page.locator('.chart table').first().locator('tbody tr');
    await rows.first().waitFor();
    assert.ok((await rows.count()) >= 2);
  },

  async 'headings, landmarks and names are there for screen readers'() {
    for (const role of ['banner', 'main', 'navigation', 'contentinfo']) {
      assert.ok((await page.getByRole(role).count()) >= 1, `no ${role}`);
    }
    for (const name of ['Traffic', 'Upstream', 'Memory', 'Queries', 'Index advice', 'Configuration in force']) {
      assert.equal(await page.getByRole('heading', { name, exact: true, level: 2 }).count(), 1, name);
    }
    const nameless = await page.evaluate(() => [...document.querySelectorAll('button, input')]
      .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length)).length);
    assert.equal(nameless, 0, 'controls without a name');
  },

  async 'text has contrast enough, light and dark'() {
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      const poor = await page.evaluate(poorContrast);
      assert.deepEqual(poor, [], `${colorScheme}: ${JSON.stringify(poor)}`);
    }
    await page.emulateMedia({ colorScheme: null });
  },

  async 'the choice of colours is kept'() {
    const button = page.getByRole('button', { name: /^Colours/ });
    await button.click();
    await button.click();
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
    await page.reload();
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
    await live();
  },

  async 'a phone shows all without scrolling sideways'() {
    await page.setViewportSize({ width: 360, height: 740 });
    await page.waitForTimeout(300);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(wide, 0, `${wide} px too wide`);
    await page.setViewportSize({ width: 1440, height: 1000 });
  },

  async 'nothing outside was asked for, and nothing complained'() {
    assert.deepEqual(outside, []);
    assert.deepEqual(complaints, []);
  },

  async 'a lost connection is said with the time of the last data'() {
    process.kill(Number(pid), 'SIGKILL');
    await page.getByText(/Disconnected, last data at \d\d:\d\d:\d\d/).waitFor();
    await page.waitForTimeout(5000);
    await page.locator('.plot .lost').first().waitFor({ state: 'attached' });
  },
};

/** Texts with less contrast than WCAG AA asks for: 4.5, or 3 if large. */
function poorContrast() {
  const parse = (c) => (c.match(/[\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => { const s = v / 255; return s <= 0.03928 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const found = new Set();
  for (const e of document.querySelectorAll('main *, header *, footer *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || e.closest('.hidden, svg') || !e.checkVisibility()) continue;
    const style = getComputedStyle(e);
    const [a, b] = [light(parse(style.color)), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) found.add(`${e.className || e.tagName}: ${ratio.toFixed(2)}`);
  }
  return [...found];
}

const titles = Object.keys(sections);
let failed = null;
for (const title of titles) {
  try {
    await sections[title]();
    console.log(`ok ${title}`);
  } catch (error) {
    console.log(`FAILED ${title}\n${error.stack}\n${complaints.join('\n')}`);
    failed = error;
    break;
  }
}
await browser.close();
if (failed) process.exit(1);
console.log(`all ${titles.length} sections ok`);
