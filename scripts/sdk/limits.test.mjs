// What ably-js makes of limits: the codes that it is told, over WebSocket and REST, and that a raised limit lets it go on.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';
import { queue, start, within } from './server.mjs';

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

test('channelRate: an attach is refused with 90021 and tried again by the SDK, REST gets 429', async () => {
  await limit({ channelRate: { hard: 1 } });
  const client = cluster.realtime(0, { channelRetryTimeout: 1500 });
  await within(8000, 'connected', client.connection.whenState('connected'));
  const channels = Array.from({ length: 12 }, (_, i) => client.channels.get('fast' + i));
  const results = await within(20_000, 'attaches', Promise.allSettled(channels.map((c) => c.attach())));
  const late = results.findIndex((r) => r.status === 'rejected');
  assert.ok(late >= 0, 'none was refused');
  assert.equal(`${results[late].reason.code}/${results[late].reason.statusCode}`, '90021/429');
  assert.equal(channels[late].state, 'suspended');
  const rest = await Promise.allSettled(Array.from({ length: 8 }, (_, i) => cluster.rest(1).channels.get('quick' + i).publish('x', 'y')));
  assert.ok(rest.some((r) => r.reason?.code === 90021 && r.reason.statusCode === 429), JSON.stringify(rest.map((r) => r.reason?.code)));
  await limit({ channelRate: null });
  await within(12_000, 'attached in the end', Promise.all(channels.map((c) => c.whenState('attached'))));
});

test('connectionRate: a client that comes too fast is disconnected with 80021 and comes back by itself', async () => {
  await limit({ connectionRate: { hard: 1 } });
  const clients = Array.from({ length: 4 }, () => cluster.realtime(0, { autoConnect: false, disconnectedRetryTimeout: 1000 }));
  const reasons = [];
  for (const c of clients) {
    c.connection.on('disconnected', (change) => reasons.push(`${change.reason.code}/${change.reason.statusCode}`));
    c.connect();
  }
  await within(20_000, 'all connected', Promise.all(clients.map((c) => c.connection.whenState('connected'))));
  assert.deepEqual([...new Set(reasons)], ['80021/429']);
  await limit({ connectionRate: null });
});

test('connectionOutRate: what is left out is told as a loss of continuity, with 42915', async () => {
  await limit({ connectionOutRate: { hard: 5 } });
  const channel = cluster.realtime(0).channels.get('much');
  const heard = queue('a message');
  await within(8000, 'subscribed', channel.subscribe((m) => heard.push(m)));
  const update = new Promise((r) => channel.on('update', r));
  const publisher = cluster.realtime(1).channels.get('much');
  await within(12_000, 'published', Promise.all(Array.from({ length: 30 }, (_, i) => publisher.publish('m', i.toString()))));
  const change = await within(8000, 'told', update);
  assert.equal(change.resumed, false);
  assert.equal(change.reason.code, 80020);
  assert.match(change.reason.message, /42915/);
  assert.ok(heard.size >= 5 && heard.size < 30, `${heard.size} were heard`);
  await limit({ connectionOutRate: null });
  await publisher.publish('after', 'x');
  await heard.until((m) => m.name === 'after');
});

test('flooding: a connection that publishes far beyond its rate fails with 42920', async () => {
  await limit({ connectionInRate: { hard: 2 } });
  const client = cluster.realtime(2);
  const channel = client.channels.get('flood');
  await within(8000, 'attach', channel.attach());
  const failed = new Promise((r) => client.connection.on('failed', r));
  const publishing = Promise.allSettled(Array.from({ length: 80 }, () => channel.publish('x', 'y')));
  const change = await within(8000, 'failed', failed);
  assert.equal(`${change.reason.code}/${change.reason.statusCode}`, '42920/429');
  await within(8000, 'all publishes answered', publishing);
  await limit({ connectionInRate: null });
});

test('an account: its apps share what it may have', async () => {
  const control = (method, path, body) => fetch(`${cluster.admin(0)}/v1${path}`, { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  const apps = [];
  for (const id of ['one', 'two']) {
    assert.equal((await control('POST', '/accounts/shared/apps', { id })).status, 201);
    apps.push((await (await control('POST', `/apps/${id}/keys`, {})).json()).key);
  }
  assert.equal((await control('PATCH', '/accounts/shared/limits', { channels: { hard: 3 }, connections: { hard: 2 } })).status, 200);
  const [one, two] = apps.map((key, i) => cluster.realtime(i, { key }));
  for (const name of ['a', 'b']) await within(12_000, name, one.channels.get(name).attach());
  await within(12_000, 'c', two.channels.get('a').attach());
  assert.equal(await refused('of one', one.channels.get('c').attach()), '40114/401');
  assert.equal(await refused('of two', two.channels.get('c').attach()), '40114/401');
  assert.equal(await refused('REST', cluster.rest(2, { key: apps[1] }).channels.get('d').publish('x', 'y')), '40114/401');
  const extra = cluster.realtime(2, { key: apps[0] });
  const change = await within(12_000, 'refused', new Promise((r) => extra.connection.on('failed', (c) => r(c.reason))));
  assert.equal(`${change.code}/${change.statusCode}`, '40111/401');
  const stranger = cluster.realtime(2);
  await within(8000, 'another account', stranger.channels.get('z').attach());
});
