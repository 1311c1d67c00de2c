// The dashboard in headless Chromium, against a cluster of three processes of which one is killed.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { createServer as createHTTP } from 'node:http';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Ably from 'ably';
import { chromium } from 'playwright-core';

const executablePath = process.env.CHROMIUM ?? ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
const binary = process.env.INNKEEPER ?? join(import.meta.dirname, '..', '..', 'bin', 'innkeeper');
const pictures = process.env.SCREENSHOTS; // a directory, to look at the pages by eye
const key = 'demo.root:secret';
const hostile = '<img src=x onerror="window.hacked=1">"\'&amp;</td><script>window.hacked=1</script>/../%2f\u202e?#';

let dir, nodes, hook, browser, page, answer = 204;
const trouble = []; // what the console and the policy complain of
const requests = new Set(); // origins that the page asked
const clients = [];

async function ports(n) {
  const servers = await Promise.all(Array.from({ length: n }, () => new Promise((resolve, reject) => {
    const s = createServer().once('error', reject).listen(0, '127.0.0.1', () => resolve(s));
  })));
  const found = servers.map((s) => s.address().port);
  await Promise.all(servers.map((s) => new Promise((r) => s.close(r))));
  return found;
}

const at = (port) => `127.0.0.1:${port}`;

async function poll(what, ms, test) {
  for (const end = Date.now() + ms; ; ) {
    const result = await test();
    if (result) return result;
    if (Date.now() > end) throw new Error(`${what}: not after ${ms} ms\n${nodes?.map((n) => n.output()).join('\n')}`);
    await new Promise((r) => setTimeout(r, 100));
  }
}

async function startNode(i, all, gossip, url) {
  const [client, admin, cluster] = all.slice(4 * i, 4 * i + 3);
  const config = {
    node: {
      data_dir: join(dir, `n${i}`), listen: at(client), admin_listen: at(admin), cluster_listen: at(cluster), gossip_listen: gossip[i],
      join: gossip, bootstrap_expect: gossip.length,
    },
    apps: [{
      id: 'demo', keys: [{ key, capability: { '[*]*': ['*'] } }],
      rules: [{ id: 'state', source: 'channel.state', target: { url, format: 'innkeeper' } }],
    }],
    state_events: { vacated_delay: '1s' }, channels: { idle_close: '2s' }, log: { level: 'warn' },
  };
  const file = join(dir, `n${i}.yaml`);
  await writeFile(file, JSON.stringify(config)); // JSON is YAML
  const child = spawn(binary, ['serve', '--config', file], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (d) => (output += d));
  child.stderr.on('data', (d) => (output += d));
  return { child, exited: once(child, 'exit'), client, admin: `http://${at(admin)}`, output: () => output };
}

function realtime(i, options = {}) {
  const c = new Ably.Realtime({ key, endpoint: '127.0.0.1', port: nodes[i].client, tls: false, logLevel: 0, ...options });
  clients.push(c);
  return c;
}

const get = async (path) => (await fetch(nodes[0].admin + path)).json();
const shot = async (name, from = page) => {
  if (!pictures) return;
  await from.evaluate(() => scrollTo(0, 0));
  await from.screenshot({ path: join(pictures, `${name}.png`), fullPage: true, animations: 'disabled' });
};
const row = (text) => page.locator('#channel-table tbody tr').filter({ has: page.getByRole('button', { name: text, exact: true }) });
const search = async (prefix) => {
  await page.getByLabel('Name begins with').fill(prefix);
  await page.getByRole('button', { name: 'Search' }).click();
};

function observe(p) {
  p.on('console', (m) => ['error', 'warning'].includes(m.type()) && trouble.push(m.text()));
  p.on('pageerror', (e) => trouble.push(String(e)));
  p.on('request', (r) => requests.add(new URL(r.url()).origin));
}

before(async () => {
  assert.ok(executablePath, 'no Chromium: scripts/test installs it through apt, or set CHROMIUM');
  dir = await mkdtemp(join(tmpdir(), 'innkeeper-dashboard-'));
  if (pictures) await mkdir(pictures, { recursive: true });
  hook = createHTTP((req, res) => { req.resume().on('end', () => { res.statusCode = answer; res.end(); }); });
  await new Promise((r) => hook.listen(0, '127.0.0.1', r));
  const all = await ports(12);
  const gossip = [3, 7, 11].map((i) => at(all[i]));
  nodes = await Promise.all([0, 1, 2].map((i) => startNode(i, all, gossip, `http://${at(hook.address().port)}/`)));
  for (const n of nodes) await poll(`${n.admin} ready`, 30_000, () => fetch(n.admin + '/readyz').then((r) => r.ok, () => false));
  browser = await chromium.launchPersistentContext(join(dir, 'profile'), {
    executablePath, headless: true, viewport: { width: 1280, height: 900 }, colorScheme: 'light',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  browser.setDefaultTimeout(15_000);
  page = await browser.newPage();
  observe(page);
});

after(async () => {
  for (const c of clients) c.close();
  await browser?.close();
  for (const n of nodes ?? []) if (n.child.exitCode === null && n.child.signalCode === null) n.child.kill('SIGKILL');
  await Promise.all((nodes ?? []).map((n) => n.exited));
  hook?.close();
  if (dir) await rm(dir, { recursive: true, force: true });
});

test('a browser that comes to / is sent to the dashboard, a program is not', async () => {
  await page.goto(nodes[0].admin + '/');
  assert.equal(new URL(page.url()).pathname, '/dashboard/');
  assert.ok((await get('/')).endpoints);
  await page.locator('#connection[data-state=live]').waitFor();
});

test('empty: every section says so', async () => {
  await page.getByText('There are no open channels.').waitFor();
  await page.getByText('No channel has been occupied or vacated yet.').waitFor();
  await page.getByText('No partition has moved since').waitFor();
  await page.getByText('Nodes answering').locator('..').getByText('3 of 3').waitFor();
  assert.equal(await page.locator('#members tr').count(), 3);
  assert.equal(await page.locator('#partitions > span').count(), 128);
  await page.locator('#members').getByText('leader').waitFor();
  await shot('empty-light');
});

test('a channel appears, fills and empties; its events come; the drill-down follows', async () => {
  const a = realtime(0), b = realtime(1, { clientId: 'bob' });
  await a.channels.get('room:1').subscribe(() => {});
  await row('room:1').waitFor();
  await row('room:1').locator('td').nth(2).getByText('1', { exact: true }).waitFor();
  await page.locator('#event-table tbody tr', { hasText: 'room:1' }).filter({ hasText: 'occupied' }).waitFor();
  await b.channels.get('room:1').subscribe(() => {});
  await b.channels.get('room:1').presence.enter('here I am');
  await row('room:1').locator('td').nth(2).getByText('2', { exact: true }).waitFor();
  await poll('connections of the cluster', 8000, async () => (await page.locator('#traffic-total td').first().textContent()) === '2');

  await row('room:1').getByRole('button').click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('App demo: open, occupied for').waitFor();
  await dialog.getByText('Subscribers', { exact: true }).locator('..').getByText('2').waitFor();
  const attachments = dialog.getByRole('region', { name: 'Attachments to the channel' }).locator('tbody tr');
  await attachments.filter({ hasText: a.connection.id }).filter({ hasText: 'subscribe' }).waitFor();
  await attachments.filter({ hasText: b.connection.id }).filter({ hasText: 'bob' }).waitFor();
  await dialog.getByText('2 attachments.', { exact: true }).waitFor();
  const present = dialog.getByRole('region', { name: 'Members present on the channel' }).locator('tbody tr');
  await present.filter({ hasText: 'bob' }).filter({ hasText: 'here I am' }).waitFor();
  await dialog.getByText('1 member.', { exact: true }).waitFor();
  await shot('channel');
  b.close();
  await present.getByText('Nobody is present.').waitFor();
  await dialog.getByText('1 attachment.', { exact: true }).waitFor();
  await dialog.getByText('Subscribers', { exact: true }).locator('..').getByText('1').waitFor();
  a.close();
  await dialog.locator('tbody').getByText('vacated').waitFor();
  await dialog.getByText('App demo: not open, vacant').waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'hidden' });
  await row('room:1').waitFor({ state: 'detached' });
  await page.locator('#event-table tbody tr', { hasText: 'room:1' }).filter({ hasText: 'vacated' }).waitFor();
});

test('search and paging show every channel once and never all at a time', async () => {
  const c = realtime(2);
  const names = Array.from({ length: 130 }, (_, i) => `many:${i}`);
  await Promise.all([...names, 'other:1'].map((n) => c.channels.get(n).attach()));
  await search('many:');
  const seen = new Set();
  for (let n = 1; n <= 6; n++) {
    await page.getByText(`Page ${n}`, { exact: true }).waitFor();
    const texts = await poll(`page ${n}`, 5000, async () => {
      const found = await page.locator('#channel-table tbody td:first-child').allTextContents();
      return found.length === (n < 6 ? 25 : 5) && !found.some((t) => seen.has(t)) && found;
    });
    texts.forEach((t) => seen.add(t));
    if (n < 6) await page.getByRole('button', { name: 'Next page' }).click();
  }
  assert.deepEqual([...seen].sort(), [...names].sort());
  assert.ok(await page.getByRole('button', { name: 'Next page' }).isDisabled());
  await page.getByRole('button', { name: 'Previous page' }).click();
  await page.getByText('Page 5', { exact: true }).waitFor();
  await shot('paging');
  await search('none:');
  await page.getByText('There are no open channels beginning with “none:”.').waitFor();
  await search('');
});

test('a hostile name is text: in the list, among the events, in the drill-down', async () => {
  const c = realtime(0);
  await c.channels.get(hostile).attach();
  await search(hostile.slice(0, 8));
  const shown = hostile.replace('\u202e', '\\u{202e}');
  await row(shown).waitFor();
  await page.locator('#event-table tbody').getByRole('button', { name: shown, exact: true }).waitFor();
  await row(shown).getByRole('button').click();
  await page.getByRole('dialog').getByText('App demo: open, occupied for').waitFor();
  assert.equal(await page.locator('#drill-title').textContent(), shown);
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.equal(await page.locator('main img, dialog img, main script').count(), 0);
  await page.reload(); // the address names the channel
  await page.getByRole('dialog').getByText('App demo: open, occupied for').waitFor();
  assert.equal(await page.locator('#drill-title').textContent(), shown);
  await page.getByRole('button', { name: 'Close' }).click();
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  await search('');
});

test('the history has the right peak, and says it of one app and of none', async () => {
  await poll('the peak', 8000, async () => /peak 13\d/.test(await page.locator('#history-chart .readout').textContent()));
  const { intervals } = await get('/meter?unit=hour');
  const peak = Math.max(...intervals.map((r) => r.channels.peak));
  assert.equal(peak, 132); // many:0 to many:129, other:1, the hostile one
  await page.locator('#history select').selectOption('hour');
  await page.getByRole('img', { name: 'Open channels per hour: highest peak 132' }).waitFor();
  await page.locator('#history summary').click();
  await page.locator('#history-rows td').nth(2).getByText('132').waitFor();
  await shot('history');
  await page.locator('#history').getByLabel('App').fill('nobody');
  await page.locator('#history-chart .readout').getByText('nothing was open').waitFor();
  await page.locator('#history').getByLabel('App').fill('demo');
  await page.locator('#history-chart .readout').getByText('highest peak 132').waitFor();
});

test('a failing sink shows its lag, its failures and its last error', async () => {
  answer = 503;
  await realtime(1).channels.get('late').attach();
  const rule = page.locator('.rule');
  await rule.getByText('failing, tries again').waitFor();
  await rule.getByText(/Last error, .*503/).waitFor();
  await shot('failing-rule');
  answer = 204;
  await rule.getByText('up to date').waitFor();
});

test('limits are shown with how they stand', async () => {
  await page.getByText('No limits are set.').waitFor();
  const patch = (body) => fetch(nodes[1].admin + '/v1/apps/demo/limits', { method: 'PATCH', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  assert.equal((await patch({ channels: { soft: 1, hard: 100000 }, messageRate: { hard: 5000 } })).status, 200);
  const c = realtime(0);
  await c.channels.get('limited').attach();
  const line = page.locator('#limits-rows tr').filter({ hasText: 'channels: open at once' });
  await line.getByText('approaching').waitFor();
  await line.getByText('100,000').waitFor();
  await page.locator('#limits-rows tr').filter({ hasText: 'messageRate' }).getByText('within').waitFor();
  await page.locator('#event-table tbody tr').filter({ hasText: 'limit.approaching' }).filter({ hasText: 'channels of app demo' }).waitFor();
  assert.equal((await patch({ channels: null, messageRate: null })).status, 200);
  await page.getByText('No limits are set.').waitFor();
  c.close();
});

test('it is usable by keyboard', async () => {
  await page.goto(nodes[0].admin + '/dashboard/');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to content');
  assert.ok((await page.locator('.skip').boundingBox()).y >= 0, 'the skip link is seen when it has the focus');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
  const rings = [];
  for (let i = 0; i < 6; i++) {
    await page.keyboard.press('Tab');
    rings.push(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle));
  }
  assert.deepEqual(rings, Array(6).fill('solid'));
  assert.equal(await page.locator('#event-table tbody').getAttribute('aria-live'), 'off');
  await page.getByRole('button', { name: 'Announce' }).press('Enter');
  assert.equal(await page.locator('#event-table tbody').getAttribute('aria-live'), 'polite');
  await page.getByRole('button', { name: 'Announce' }).press('Enter');
});

for (const scheme of ['light', 'dark']) {
  test(`a phone scrolls up and down only (${scheme})`, async () => {
    const phone = await browser.newPage();
    observe(phone);
    await phone.setViewportSize({ width: 360, height: 740 });
    await phone.emulateMedia({ colorScheme: scheme });
    await phone.goto(nodes[0].admin + '/dashboard/');
    await phone.locator('.rule').waitFor();
    await phone.locator('#channel-table tbody tr').first().waitFor();
    const [wide, high] = await phone.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.scrollHeight]);
    assert.equal(wide, 360);
    assert.ok(high > 740);
    const ground = await phone.evaluate(() => getComputedStyle(document.body).backgroundColor.match(/\d+/g).reduce((a, b) => a + Number(b), 0));
    assert.equal(ground < 300, scheme === 'dark');
    await shot(`phone-${scheme}`, phone);
    await phone.locator('#channel-table button').first().click();
    await phone.getByText(/open, occupied for/).waitFor();
    assert.equal(await phone.evaluate(() => document.documentElement.scrollWidth), 360);
    await shot(`phone-channel-${scheme}`, phone);
    await phone.close();
  });
}

test('a node dies: it is shown dead and its partitions move', async () => {
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.locator('#connection[data-state=live]').waitFor();
  const { node: dead } = await (await fetch(nodes[2].admin + '/cluster')).json();
  const owned = (await get('/cluster')).members.find((m) => m.node === dead).partitions_owned;
  assert.ok(owned > 10);
  const letter = await page.locator('#members tr', { hasText: dead }).locator('.badge').textContent();
  assert.equal(await page.locator('#partitions > span', { hasText: letter }).count(), owned);
  nodes[2].child.kill('SIGKILL');
  await page.locator('#members tr', { hasText: dead }).getByText('dead').waitFor({ timeout: 30_000 });
  await poll('the partitions move', 30_000, async () => (await page.locator('#partitions > span', { hasText: letter }).count()) === 0);
  assert.ok((await page.locator('#partitions > .moved').count()) >= owned);
  await page.locator('#moves li .badge', { hasText: letter }).first().waitFor();
  const moved = (await page.locator('#moves li', { has: page.locator('.badge').first().filter({ hasText: letter }) }).allTextContents())
    .map((t) => Number(t.match(/(\d+) partitions? \(/)?.[1] ?? 0)).reduce((a, b) => a + b, 0);
  assert.ok(moved >= owned, `${moved} of ${owned} moves are told`);
  await page.getByText('Nodes answering').locator('..').getByText('2 of 3').waitFor();
  await shot('node-dead-dark');
});

test('no script, style or request but its own', async () => {
  const r = await fetch(nodes[0].admin + '/dashboard/');
  const policy = r.headers.get('content-security-policy');
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe|\*/);
  assert.doesNotMatch(await r.text(), /<script(?![^>]*src=)|<style|style=| on[a-z]+=/);
  assert.deepEqual([...requests].filter((o) => !nodes.some((n) => n.admin === o)), []);
  assert.deepEqual(trouble, []);
});

test('the node that tells goes away and comes back: the page says so and goes on', async () => {
  nodes[0].child.kill('SIGSTOP');
  await page.locator('#connection[data-state=lost]').waitFor();
  await page.getByText('No connection: nothing was heard for a while').waitFor();
  await page.getByText('Figures are of').waitFor();
  await shot('error-dark');
  nodes[0].child.kill('SIGCONT');
  await page.locator('#connection[data-state=live]').waitFor({ timeout: 30_000 });
  await page.getByText('No connection').first().waitFor({ state: 'hidden' });
});
