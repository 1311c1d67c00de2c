// What an app had open, seen by ably-js: stats() in its units, pages and bounds, on three nodes.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { start, key, within } from './server.mjs';

let cluster;
before(async () => (cluster = await start({ nodes: 3 })));
after(async () => assert.equal(await cluster?.stop(), 0, 'innkeeper dev stops cleanly on SIGTERM'));

const CHANNELS = 7;

// until reads the running interval until it says what is wanted: figures are seconds behind.
async function until(what, ok) {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const got = await what();
    if (ok(got)) return got;
    if (Date.now() > deadline) assert.fail(`not in 30 s: ${JSON.stringify(got)}`);
    await pause(200); // no event tells that figures were committed
  }
}

// spread says whether every node serves its share of the partitions. What is opened while its partition moves counts in the
// peak and not as opened (docs/decisions/0010), and a cluster that has just begun still moves some.
async function spread() {
  const served = [];
  for (const i of [0, 1, 2]) {
    const metrics = await (await fetch(cluster.admin(i) + '/metrics')).text();
    const of = (state) => Number(metrics.match(new RegExp(`^innkeeper_partitions\\{state="${state}"\\} (\\d+)`, 'm'))[1]);
    if (of('rebuilding') > 0) return false;
    served.push(of('open'));
  }
  const { partitions } = await (await fetch(cluster.admin(0) + '/cluster')).json();
  return served.reduce((a, b) => a + b) === partitions.length && Math.max(...served) - Math.min(...served) <= 1;
}

test('the peak of channels and connections of all nodes, in every unit', async () => {
  await until(spread, (yes) => yes);
  const clients = [0, 1, 2].map((i) => cluster.realtime(i));
  for (const [i, client] of clients.entries()) {
    await within(8000, 'shared', client.channels.get('shared').attach());
    await within(8000, 'own', client.channels.get(`own:${i}`).attach());
  }
  for (let i = 4; i < CHANNELS; i++) await cluster.rest(i % 3).channels.get(`rest:${i}`).publish('x', 'y');
  const rest = cluster.rest(1);
  for (const unit of ['minute', 'hour', 'day', 'month']) {
    const page = await until(
      () => rest.stats({ unit }),
      (page) => Math.max(0, ...page.items.map((s) => s.entries['channels.peak'] ?? 0)) === CHANNELS,
    );
    const s = page.items.find((s) => s.entries['channels.peak'] === CHANNELS);
    assert.equal(s.unit, unit);
    assert.match(s.intervalId, /^\d{4}-\d\d/);
    assert.equal(s.entries['connections.all.peak'], 3);
    assert.ok(page.isLast());
  }
  const [month] = (await rest.stats({ unit: 'month' })).items;
  assert.equal(month.entries['channels.opened'], CHANNELS);
  assert.equal(month.entries['messages.inbound.rest.messages.count'], CHANNELS - 4);
  assert.ok(month.inProgress);
  const id = month.intervalId;
  assert.equal((await rest.stats({ unit: 'month', start: id, end: id })).items.length, 1);
  assert.equal((await rest.stats({ unit: 'month', end: '2020-01-01:00:00' })).items.length, 0);
  assert.equal((await rest.stats({ unit: 'hour', start: id, direction: 'forwards', limit: 1 })).items.length, 1);
});

test('clients of version 2 read the nested shape', async () => {
  const r = await fetch(cluster.url(2) + '/stats?unit=day', {
    headers: { authorization: 'Basic ' + Buffer.from(key).toString('base64'), 'x-ably-version': '2' },
  });
  assert.equal(r.status, 200);
  const [day] = await r.json();
  assert.equal(day.channels.peak, CHANNELS);
  assert.equal(day.connections.all.peak, 3);
  assert.equal(day.inbound.rest.messages.count, CHANNELS - 4);
});

test('bad questions are refused with a code', async () => {
  for (const params of [{ unit: 'year' }, { start: 'yesterday' }, { limit: 1001 }, { start: 2, end: 1 }]) {
    await assert.rejects(cluster.rest(0).stats(params), (e) => e.statusCode === 400);
  }
});
