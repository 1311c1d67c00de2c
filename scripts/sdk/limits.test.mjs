// What ably-js makes of limits: the codes that it is told, over WebSocket and REST, and that a raised limit lets it go on.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { start, within } from './server.mjs';

let cluster;
before(async () => (cluster = await start({ nodes: 3 })));
after(async () => assert.equal(await cluster?.stop(), 0, 'innkeeper dev stops cleanly on SIGTERM'));

// limit sets limits of the app through the control API of some node; null removes one.
async function limit(limits, node = 0) {
  const r = await fetch(`${cluster.admin(node)}/v1/apps/demo/limits`, { method: 'PATCH', headers: { 'content-type': 'application/json' }, body: JSON.stringify(limits) });
  assert.equal(r.status, 200, await r.clone().text());
  return r.json();
}

// refused is what an operation is refused with.
async function refused(what, promise) {
  const e = await within(12_000, what, promise.then(() => assert.fail(`${what} was not refused`), (e) => e));
  return `${e.code}/${e.statusCode}`;
}

test('channels: attach, publish and REST are refused with 40114, and a raised limit lets the next one in', async () => {
  await limit({ channels: { hard: 3 } });
  const client = cluster.realtime(0);
  for (const name of ['a', 'b', 'c']) await within(12_000, name, client.channels.get(name).attach());
  const d = client.channels.get('d');
  assert.equal(await refused('attach', d.attach()), '40114/401');
  assert.equal(d.state, 'failed');
  assert.equal(await refused('publish', cluster.realtime(1).channels.get('e').publish('x', 'y')), '40114/401');
  assert.equal(await refused('REST', cluster.rest(2).channels.get('f').publish('x', 'y')), '40114/401');
  await within(8000, 'another client on an open channel', cluster.realtime(1).channels.get('a').attach());
  await limit({ channels: { hard: 4 } }, 1);
  await within(12_000, 'the next one', d.attach());
  assert.equal(d.state, 'attached');
  await limit({ channels: null });
});

test('connections: one too many fails with 40150; when one goes, the next comes', async () => {
  const open = [0, 1, 2].map((i) => cluster.realtime(i));
  for (const c of open) await within(8000, 'connected', c.connection.whenState('connected'));
  await pause(1500); // figures are a second behind
  const now = (await limit({ connections: { hard: 1_000 } })).now.connections;
  await pause(1500);
  const count = (await (await fetch(`${cluster.admin(0)}/v1/apps/demo/limits`)).json()).now.connections.value;
  assert.ok(count >= 3, JSON.stringify(now));
  await limit({ connections: { hard: count } });
  const extra = cluster.realtime(1);
  const change = await within(12_000, 'refused', new Promise((r) => extra.connection.on('failed', (c) => r(c.reason))));
  assert.equal(`${change.code}/${change.statusCode}`, '40150/401');
  open[2].close();
  await within(8000, 'closed', open[2].connection.whenState('closed'));
  await pause(1200); // the leader hears of it
  const next = cluster.realtime(0);
  await within(12_000, 'the next', next.connection.whenState('connected'));
  await limit({ connections: null });
});

test('rates: NACK and 429 with Retry-After, and the connection lives on', async () => {
  await limit({ connectionInRate: { hard: 5 } });
  const client = cluster.realtime(0);
  const channel = client.channels.get('rates');
  await within(8000, 'attach', channel.attach());
  const results = await within(12_000, 'publishes', Promise.allSettled(Array.from({ length: 12 }, (_, i) => channel.publish('x', i.toString()))));
  const codes = results.filter((r) => r.status === 'rejected').map((r) => `${r.reason.code}/${r.reason.statusCode}`);
  assert.equal(results.length - codes.length, 5);
  assert.deepEqual([...new Set(codes)], ['42911/429']);
  assert.equal(client.connection.state, 'connected');
  await limit({ connectionInRate: null, channelMessageRate: { hard: 3 } });
  const other = await Promise.allSettled(Array.from({ length: 8 }, () => cluster.rest(1).channels.get('one').publish('x', 'y')));
  assert.ok(other.some((r) => r.reason?.code === 42913 && r.reason.statusCode === 429), JSON.stringify(other.map((r) => r.reason?.code)));
  await limit({ channelMessageRate: null, apiRequestRate: { hard: 2 } });
  const auth = { authorization: 'Basic ' + Buffer.from('demo.root:secret').toString('base64') };
  const replies = await Promise.all(Array.from({ length: 8 }, () => fetch(cluster.url(0) + '/channels?limit=1', { headers: auth })));
  const late = replies.find((r) => r.status === 429);
  assert.ok(late, replies.map((r) => r.status).join());
  assert.equal(late.headers.get('retry-after'), '1');
  assert.equal(late.headers.get('x-ably-errorcode'), '42918');
  await limit({ apiRequestRate: null });
});

test('size: the client learns the limit when it connects, and REST refuses with 40009', async () => {
  await limit({ messageSize: { hard: 2048 } });
  const client = cluster.realtime(2);
  await within(8000, 'connected', client.connection.whenState('connected'));
  assert.equal(await refused('realtime', client.channels.get('size').publish('x', 'y'.repeat(3000))), '40009/400');
  assert.equal(await refused('REST', cluster.rest(1).channels.get('size').publish('x', 'y'.repeat(3000))), '40009/400');
  await limit({ messageSize: null });
});

test('presence: one member too many is refused with 91003', async () => {
  await limit({ presenceMembers: { hard: 2 } });
  const channel = cluster.realtime(0).channels.get('presence');
  await within(8000, 'attach', channel.attach());
  await within(8000, 'first', channel.presence.enterClient('a'));
  await within(8000, 'second', channel.presence.enterClient('b'));
  assert.equal(await refused('third', channel.presence.enterClient('c')), '91003/400');
  await limit({ presenceMembers: { hard: 3 } });
  await within(8000, 'third again', channel.presence.enterClient('c'));
  await limit({ presenceMembers: null });
});
