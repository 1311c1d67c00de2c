// The first slice, seen by ably-js: three nodes, clients spread over them, both encodings.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import { start, queue, within, key } from './server.mjs';

let cluster;
before(async () => (cluster = await start({ nodes: 3 })));
after(async () => assert.equal(await cluster?.stop(), 0, 'innkeeper dev stops cleanly on SIGTERM'));

const name = (base) => `${base}:${Math.random().toString(36).slice(2)}`;

async function connected(client) {
  await within(8000, 'connected', client.connection.once('connected'));
  return client;
}

async function closed(...clients) {
  for (const client of clients) {
    const done = client.connection.once('closed');
    client.close();
    await within(8000, 'closed', done);
  }
}

for (const useBinaryProtocol of [false, true]) {
  describe(useBinaryProtocol ? 'binary protocol' : 'JSON protocol', () => {
    const open = async (i, options) => connected(cluster.realtime(i, { useBinaryProtocol, ...options }));

    test('connects and answers a ping', async () => {
      const c = await open(0);
      assert.ok(c.connection.id && c.connection.key);
      assert.ok((await within(8000, 'ping', c.connection.ping())) >= 0);
      await closed(c);
    });

    test('a message crosses nodes and occupancy follows', async () => {
      const a = await open(0);
      const b = await open(1);
      const ch = name('chat');
      const occupancy = queue('[meta]occupancy');
      const messages = queue('message');
      const watched = a.channels.get(ch, { params: { occupancy: 'metrics' } });
      await watched.subscribe((m) => (m.name === '[meta]occupancy' ? occupancy : messages).push(m));
      assert.equal(watched.state, 'attached');
      assert.deepEqual(watched.params, { occupancy: 'metrics' });

      const seed = (await occupancy.next()).data.metrics;
      assert.equal(seed.connections, 1);
      assert.equal(seed.subscribers, 1);
      assert.equal(seed.presenceMembers, 0);

      const published = await b.channels.get(ch).publish('greeting', { hello: 'world' });
      const got = await messages.next();
      assert.equal(got.name, 'greeting');
      assert.deepEqual(got.data, { hello: 'world' });
      assert.equal(got.connectionId, b.connection.id);
      assert.ok(published.serials?.[0], 'publish returns a serial');
      assert.equal(got.serial, published.serials[0]);

      // 1 → 2 is rolled up, and still arrives.
      await b.channels.get(ch).attach();
      await occupancy.until((m) => m.data.metrics.connections === 2);
      await b.channels.get(ch).detach();
      await occupancy.until((m) => m.data.metrics.connections === 1);
      assert.equal(b.channels.get(ch).state, 'detached');
      await closed(a, b);
    });

    test('0 to 1 and back is told at once', async () => {
      const watcher = await open(2);
      const ch = name('zero');
      const occupancy = queue('[meta]occupancy');
      await watcher.channels
        .get(ch, { modes: ['SUBSCRIBE'], params: { occupancy: 'metrics.publishers' } })
        .subscribe('[meta]occupancy', (m) => occupancy.push([m.data.metrics, Date.now()]));
      assert.deepEqual((await occupancy.next())[0], { publishers: 0 });
      const p = await open(0);
      const t0 = Date.now();
      await p.channels.get(ch, { modes: ['PUBLISH'] }).attach();
      let [m, at] = await occupancy.next();
      assert.deepEqual(m, { publishers: 1 });
      assert.ok(at - t0 < 800, `told after ${at - t0} ms`);
      await p.channels.get(ch).detach();
      [m] = await occupancy.next();
      assert.deepEqual(m, { publishers: 0 });
      await closed(watcher, p);
    });

    test('data of every kind arrives as it was sent', async () => {
      const a = await open(0);
      const b = await connected(cluster.realtime(1, { useBinaryProtocol: !useBinaryProtocol }));
      const ch = name('data');
      const got = queue('message');
      await b.channels.get(ch).subscribe((m) => got.push(m));
      const values = ['text', '', 'émoji 🛎', Buffer.from([0, 1, 254, 255]), Buffer.alloc(0), { a: [1, 2, { b: null }] }, [1, 'two'], undefined];
      for (const [i, v] of values.entries()) await a.channels.get(ch).publish(`m${i}`, v);
      for (const [i, v] of values.entries()) {
        const m = await got.next();
        assert.equal(m.name, `m${i}`);
        if (Buffer.isBuffer(v)) assert.deepEqual(Buffer.from(m.data), v);
        else assert.deepEqual(m.data ?? undefined, v);
      }
      await a.channels.get(ch).publish({ name: 'x', data: 'd', extras: { headers: { k: 'v', n: 1 } } });
      assert.deepEqual((await got.next()).extras.headers, { k: 'v', n: 1 });
      await closed(a, b);
    });

    test('messages of one publisher keep their order', async () => {
      const a = await open(0);
      const b = await open(2);
      const ch = name('order');
      const got = queue('message');
      await b.channels.get(ch).subscribe((m) => got.push(m.data));
      const n = 300;
      await Promise.all(Array.from({ length: n }, (_, i) => a.channels.get(ch).publish('n', String(i))));
      for (let i = 0; i < n; i++) assert.equal(await got.next(), String(i));
      await closed(a, b);
    });

    test('echoMessages: false hears others only', async () => {
      const quiet = await open(0, { echoMessages: false });
      const other = await open(0);
      const ch = name('echo');
      const got = queue('message');
      await quiet.channels.get(ch).subscribe((m) => got.push(m.data));
      await quiet.channels.get(ch).publish('own', 'own');
      await other.channels.get(ch).publish('other', 'other');
      assert.equal(await got.next(), 'other');
      await closed(quiet, other);
    });

    test('modes bound what a channel may do', async () => {
      const c = await open(1);
      const ch = c.channels.get(name('modes'), { modes: ['SUBSCRIBE'] });
      await ch.attach();
      assert.deepEqual(ch.modes, ['subscribe']);
      await assert.rejects(ch.publish('x', 'y'), (e) => e.code === 40165 || e.code === 40160);
      await closed(c);
    });

    test('an invalid name fails the channel, not the connection', async () => {
      const c = await open(0);
      await assert.rejects(c.channels.get(':hell').attach(), (e) => e.code === 40010 && e.statusCode === 400);
      assert.equal(c.connection.state, 'connected');
      await closed(c);
    });

    test('a message too large is refused with 40009', async () => {
      const c = await open(0);
      await assert.rejects(c.channels.get(name('big')).publish('x', 'y'.repeat(70_000)), (e) => e.code === 40009);
      assert.equal(c.connection.state, 'connected');
      await closed(c);
    });

    test('a wrong key fails the connection with 40101', async () => {
      const c = cluster.realtime(0, { useBinaryProtocol, key: 'demo.root:wrong' });
      const change = await within(8000, 'failed', c.connection.once('failed'));
      assert.equal(change.reason.code, 40101);
      assert.equal(change.reason.statusCode, 401);
      c.close();
    });

    test('REST: time, publish, status, enumeration', async () => {
      const rest = cluster.rest(1, { useBinaryProtocol });
      assert.ok(Math.abs((await rest.time()) - Date.now()) < 5000);
      const ch = name('rest');
      const sub = await open(0);
      const got = queue('message');
      await sub.channels.get(ch).subscribe((m) => got.push(m));
      await rest.channels.get(ch).publish([
        { name: 'one', data: '1' },
        { name: 'two', data: { n: 2 } },
      ]);
      assert.equal((await got.next()).data, '1');
      assert.deepEqual((await got.next()).data, { n: 2 });

      const details = await rest.channels.get(ch).status();
      assert.equal(details.channelId, ch);
      assert.equal(details.status.isActive, true);
      assert.equal(details.status.occupancy.metrics.subscribers, 1);
      assert.equal(details.status.occupancy.metrics.objectPublishers, 0);

      const listed = new Set();
      let page = await rest.request('get', '/channels', 2, { limit: 1, prefix: ch, by: 'id' });
      assert.equal(page.statusCode, 200);
      for (;;) {
        for (const id of page.items) {
          assert.ok(!listed.has(id), 'listed twice');
          listed.add(id);
        }
        if (!page.hasNext()) break;
        page = await page.next();
      }
      assert.deepEqual([...listed], [ch]);
      await closed(sub);
    });
  });
}

test('events are pulled from any node', async () => {
  // Every node holds the log.
  const auth = { authorization: 'Basic ' + Buffer.from(key).toString('base64') };
  for (let i = 0; i < cluster.nodes; i++) {
    const r = await fetch(cluster.url(i) + '/events?after=0&limit=1000', { headers: auth });
    assert.equal(r.status, 200);
    const { first, last, events } = await r.json();
    assert.ok(last >= first && events.length > 0);
    for (const e of events) if (e.type === 'vacated') assert.ok(e.ends > 0 && e.ends < e.seq);
  }
});
