// Metachannels as an application reads them with ably-js: the life of channels and connections, requests, and the
// statistics of each minute, on three nodes.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { start, within, queue } from './server.mjs';

let cluster;
let minute; // what the first minute's update says; it takes up to a minute, so it is waited for beside the others
before(async () => {
  cluster = await start({ nodes: 3, args: ['--channels.idle_close', '1s'] });
  await cluster.rest(0).channels.get('counted').publish('x', 'y');
  const events = await watch(1, '[meta]stats:minute');
  minute = events.next(90_000);
  minute.catch(() => {}); // the test that awaits it tells
});
after(async () => assert.equal(await cluster?.stop(), 0, 'innkeeper dev stops cleanly on SIGTERM'));

// watch subscribes to a metachannel on a node.
async function watch(node, name) {
  const events = queue(name);
  await within(8000, `subscribe to ${name}`, cluster.realtime(node).channels.get(name).subscribe(events.push));
  return events;
}

// told repeats an act until the watchers hear of it: a node learns within two seconds that somebody watches, and what
// happens before may not be told.
async function told(events, act, isIt) {
  for (let attempt = 0; ; attempt++) {
    const it = await act();
    try {
      return await events.until((m) => isIt(m, it), 500);
    } catch (e) {
      if (attempt === 20) throw e;
    }
  }
}

for (const useBinaryProtocol of [false, true]) {
  test(`the life of a channel is told once on every node (${useBinaryProtocol ? 'msgpack' : 'json'})`, async () => {
    const room = `life-${useBinaryProtocol}`;
    const watchers = await Promise.all([0, 1, 2].map((i) => watch(i, '[meta]channel.lifecycle')));
    const clients = [0, 1, 2].map((i) => cluster.realtime(i, { useBinaryProtocol }));
    await Promise.all(clients.map((c) => within(8000, 'attach', c.channels.get(room).attach())));
    await Promise.all(clients.map((c) => within(8000, 'detach', c.channels.get(room).detach())));
    for (const events of watchers) {
      const of = (m) => m.data.channelId === room;
      const opened = await events.until(of);
      assert.equal(opened.name, 'channel.opened');
      assert.equal(opened.clientId, undefined);
      assert.equal(opened.data.name, room);
      assert.equal(opened.data.status.isActive, true);
      const closed = await events.until(of, 15_000);
      assert.equal(closed.name, 'channel.closed');
      assert.equal(closed.data.status.isActive, false);
      assert.equal(closed.data.status.occupancy.metrics.connections, 0);
    }
  });
}

test('metachannels cannot be written to, and only what names them grants them', async () => {
  const meta = cluster.realtime(0).channels.get('[meta]channel.lifecycle');
  await assert.rejects(within(8000, 'publish', meta.publish('x', 'y')), (e) => e.code === 40160);
  await assert.rejects(cluster.rest(0).channels.get('[meta]log').publish('x', 'y'), (e) => e.code === 40160);
  await meta.attach();
  assert.deepEqual(meta.modes, ['subscribe']);
  const auth = cluster.rest(0).auth;
  for (const [capability, code] of [[{ '*': ['*'] }, 40160], [{ '[meta]*': ['subscribe'] }, 0], [{ '[*]*': ['subscribe'] }, 0]]) {
    const token = await auth.requestToken({ capability });
    const channel = cluster.realtime(1, { key: undefined, token: token.token }).channels.get('[meta]connection.lifecycle');
    const attached = within(8000, 'attach', channel.attach());
    if (code) await assert.rejects(attached, (e) => e.code === code);
    else await attached;
  }
  await assert.rejects(within(8000, 'attach', cluster.realtime(0).channels.get('[meta]nothing').attach()), (e) => e.code === 40010);
});

test('metachannels are not listed and are nobody’s lifecycle', async () => {
  const page = await cluster.rest(2).request('get', '/channels', 3, { by: 'id' });
  assert.ok(!page.items.some((name) => name.startsWith('[')), JSON.stringify(page.items));
});

test('connections and requests are told while somebody watches', async () => {
  const connections = await watch(0, '[meta]clientEvents:connections');
  const lifecycle = await watch(2, '[meta]connection.lifecycle');
  const requests = await watch(1, '[meta]clientEvents:apiRequests');
  const visit = async () => {
    const guest = cluster.realtime(2);
    await within(8000, 'connect', guest.connection.once('connected'));
    const { id } = guest.connection;
    guest.close();
    return id;
  };
  for (const events of [connections, lifecycle]) await told(events, visit, (m, id) => m.data.connectionId === id);
  const client = cluster.realtime(2, { clientId: 'alice' });
  await within(8000, 'connect', client.connection.once('connected'));
  const id = client.connection.id;
  const opened = await connections.until((m) => m.data.connectionId === id);
  assert.equal(opened.name, 'connection.opened');
  for (const field of ['host', 'site', 'headers', 'query']) assert.ok(field in opened.data, field);
  assert.equal(opened.data.clientId, 'alice');
  assert.ok(!JSON.stringify(opened.data).includes('secret'));
  client.close();
  assert.equal((await connections.until((m) => m.data.connectionId === id)).name, 'connection.closed');
  assert.equal((await lifecycle.until((m) => m.data.connectionId === id)).name, 'connection.opened');
  assert.equal((await lifecycle.until((m) => m.data.connectionId === id)).name, 'connection.closed');

  const request = await told(requests, () => cluster.rest(0).channels.get('talk').publish('x', 'y'), (m) => m.data.method === 'POST');
  assert.equal(request.name, 'request.succeeded');
  assert.equal(request.data.pathPattern, '/channels/:channelId/messages');
  assert.deepEqual(request.data.channels, ['talk']);
});

test('the statistics of a minute come on [meta]stats:minute, and with rewind the latest', async () => {
  const update = await minute;
  assert.equal(update.name, 'update');
  assert.equal(update.data.unit, 'minute');
  assert.match(update.data.intervalId, /^\d{4}-\d\d-\d\d:\d\d:\d\d$/);
  assert.ok(update.data.entries['channels.peak'] >= 1);
  const latest = queue('rewind');
  const channel = cluster.realtime(2).channels.get('[meta?rewind=1]stats:minute');
  await within(8000, 'subscribe', channel.subscribe(latest.push));
  assert.equal((await latest.next()).data.intervalId, update.data.intervalId);
});
