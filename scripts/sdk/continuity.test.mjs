// Continuity, seen by ably-js: clients that change nodes, links that are cut, nodes that are killed.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import { start, queue, within } from './server.mjs';
import { proxy, realtime, connected, closed, serve, name } from './faults.mjs';

describe('one cluster of three nodes', () => {
  let cluster;
  before(async () => (cluster = await start({ nodes: 3 })));
  after(async () => assert.equal(await cluster?.stop(), 0));

  for (const useBinaryProtocol of [false, true]) {
    describe(useBinaryProtocol ? 'binary protocol' : 'JSON protocol', () => {
      test('a client that comes back at another node hears what it missed, once', async () => {
        const link = await proxy(cluster.port(0));
        const c = await connected(realtime(link.port, { useBinaryProtocol }));
        const id = c.connection.id;
        const ch = c.channels.get(name('move'));
        const got = queue('message');
        await ch.subscribe((m) => got.push(m.data));
        const rest = cluster.rest(1, { useBinaryProtocol }).channels.get(ch.name);
        await rest.publish('m', 'before');
        assert.equal(await got.next(), 'before');
        const changes = [];
        ch.on((change) => changes.push(change));
        for (const node of [2, 1, 0]) {
          link.off();
          await within(8000, 'disconnected', c.connection.once('disconnected'));
          for (let i = 0; i < 20; i++) await rest.publish('m', `${node}-${i}`);
          link.to(cluster.port(node));
          await connected(c);
          assert.equal(c.connection.id, id, 'the connection goes on under its id');
          assert.equal(c.connection.errorReason, null);
          for (let i = 0; i < 20; i++) assert.equal(await got.next(), `${node}-${i}`);
        }
        await rest.publish('m', 'after');
        assert.equal(await got.next(), 'after');
        assert.equal(got.size, 0, 'nothing twice');
        assert.ok(changes.every((x) => x.current === 'attached' ? x.resumed && !x.reason : true), JSON.stringify(changes));
        await closed(c);
        link.close();
      });

      test('publishes that are sent again over a cut connection are not doubled', async () => {
        const link = await proxy(cluster.port(0));
        const p = await connected(realtime(link.port, { useBinaryProtocol }));
        const s = await connected(cluster.realtime(1, { useBinaryProtocol }));
        const ch = name('retry');
        const got = queue('message');
        await s.channels.get(ch).subscribe((m) => got.push(m));
        const results = [];
        const n = 300;
        for (let i = 0; i < n; i++) {
          results.push(p.channels.get(ch).publish('m', String(i)));
          if (i % 60 === 30) link.to(cluster.port((i / 30) % 3));
          if (i % 10 === 0) await new Promise((r) => setTimeout(r, 5)); // a publisher at its own pace
        }
        const acked = await within(20000, 'all publishes acknowledged', Promise.all(results));
        for (let i = 0; i < n; i++) {
          const m = await got.next();
          assert.equal(m.data, String(i));
          assert.equal(m.serial, acked[i].serials[0], 'the answer names the message');
        }
        assert.equal(got.size, 0);
        await closed(p, s);
        link.close();
      });

      test('a publish with an id of its own is taken once', async () => {
        const c = await connected(cluster.realtime(0, { useBinaryProtocol }));
        const ch = name('id');
        const got = queue('message');
        await c.channels.get(ch).subscribe((m) => got.push(m));
        const message = { id: 'order-17', name: 'm', data: 'x' };
        const first = await c.channels.get(ch).publish(message);
        const second = await cluster.rest(2, { useBinaryProtocol }).channels.get(ch).publish(message);
        assert.deepEqual(second.serials, first.serials);
        await c.channels.get(ch).publish('last', 'y');
        assert.equal((await got.next()).id, 'order-17');
        assert.equal((await got.next()).name, 'last');
        await closed(c);
      });

      test('a first attach is not resumed, one after a long absence is told so', async () => {
        const c = await connected(cluster.realtime(0, { useBinaryProtocol }));
        const ch = c.channels.get(name('first'));
        const change = await ch.attach();
        assert.equal(change.resumed, false);
        const late = c.channels.get(name('late'));
        late.properties.channelSerial = '01600000000000-000@longago';
        const told = await late.attach();
        assert.equal(told.resumed, false);
        assert.equal(told.reason?.code, 90003);
        await closed(c);
      });

      test('history: pages in both directions, bounds, untilAttach', async () => {
        const c = await connected(cluster.realtime(0, { useBinaryProtocol }));
        const ch = c.channels.get(name('history'));
        for (let i = 0; i < 5; i++) await ch.publish('m', String(i));
        await ch.publish([5, 6, 7].map((i) => ({ name: 'm', data: String(i) })));
        await ch.attach();
        await ch.publish('m', { after: 'attach' });
        const read = async (channel, params) => {
          const all = [];
          for (let page = await channel.history(params); page; page = page.hasNext() ? await page.next() : null) {
            assert.ok(page.items.length <= (params.limit ?? 100));
            all.push(...page.items);
          }
          return all;
        };
        const numbers = ['0', '1', '2', '3', '4', '5', '6', '7'];
        for (const node of [0, 1, 2]) {
          const rest = cluster.rest(node, { useBinaryProtocol }).channels.get(ch.name);
          for (const limit of [1, 2, 3, 100]) {
            const up = await read(rest, { limit, direction: 'forwards' });
            assert.deepEqual(up.slice(0, 8).map((m) => m.data), numbers);
            assert.deepEqual(up[8].data, { after: 'attach' });
            assert.deepEqual((await read(rest, { limit })).map((m) => m.id), up.map((m) => m.id).reverse());
          }
        }
        const until = await read(ch, { untilAttach: true });
        assert.deepEqual(until.map((m) => m.data), [...numbers].reverse());
        assert.equal(until[0].connectionId, c.connection.id);
        const third = until[5];
        assert.equal((await read(ch, { start: third.timestamp, direction: 'forwards' })).length >= 6, true);
        await closed(c);
      });

      test('rewind', async () => {
        const c = await connected(cluster.realtime(1, { useBinaryProtocol }));
        const ch = name('rewind');
        const rest = cluster.rest(2, { useBinaryProtocol }).channels.get(ch);
        for (let i = 0; i < 5; i++) await rest.publish('m', String(i));
        for (const [rewind, from] of [['3', 2], ['1m', 0], ['100', 0]]) {
          const got = queue('message');
          const channel = c.channels.get(ch, { params: { rewind } });
          await channel.subscribe((m) => got.push(m.data));
          for (let i = from; i < 5; i++) assert.equal(await got.next(), String(i));
          assert.equal(got.size, 0);
          await channel.detach();
          c.channels.release(ch);
        }
        await closed(c);
      });
    });
  }
});

test('whatever is acknowledged is heard once, whichever node is killed', { timeout: 180000 }, async () => {
  const cluster = await serve(3);
  const links = await Promise.all([0, 1, 2].map((i) => proxy(cluster.port(i))));
  const clients = await Promise.all(links.map((l, i) => connected(realtime(l.port, { useBinaryProtocol: i === 1 }))));
  const channels = Array.from({ length: 12 }, () => name('kill'));
  const heard = clients.map(() => new Map(channels.map((ch) => [ch, []])));
  const unresumed = [];
  for (const [i, c] of clients.entries()) {
    for (const ch of channels) {
      await c.channels.get(ch).subscribe((m) => heard[i].get(ch).push(m.data));
      c.channels.get(ch).on((x) => x.current === 'attached' && !x.resumed && unresumed.push([i, ch, x.reason?.message]));
    }
  }
  const acked = new Set();
  const pending = new Set();
  let n = 0;
  let going = true;
  const publisher = (async () => {
    while (going) {
      const [c, ch] = [clients[n % 3], channels[n % channels.length]];
      const text = `${n % 3}:${n}`;
      const p = c.channels.get(ch).publish('m', text).then(() => acked.add(`${ch} ${text}`), () => {}).finally(() => pending.delete(p));
      pending.add(p);
      n++;
      await new Promise((r) => setTimeout(r, 4)); // a publisher at its own pace
    }
  })();
  const steady = () => new Promise((r) => setTimeout(r, 2500)); // publishing goes on, copies are made
  for (const victim of [0, 1, 2]) {
    await steady();
    await cluster.kill(victim);
    links[victim].to(cluster.port((victim + 1) % 3));
    await steady();
    await cluster.restart(victim);
    links[victim].to(cluster.port(victim));
  }
  await steady();
  going = false;
  await publisher;
  await within(20000, 'all publishes answered', Promise.all(pending));
  assert.ok(acked.size > 1000 && acked.size > 0.98 * n, `${acked.size} of ${n} were acknowledged`);
  const last = name('last');
  await Promise.all(clients.map((c) => within(15000, 'marked', Promise.all(channels.map((ch) => {
    const list = heard[clients.indexOf(c)].get(ch);
    return new Promise((done) => {
      const look = () => (list.includes(last) ? done() : setTimeout(look, 20)); // what was published last is heard last
      look();
      if (c === clients[0]) c.channels.get(ch).publish('m', last);
    });
  })))));
  for (const ch of channels) {
    const reference = heard[0].get(ch);
    for (const [i] of clients.entries()) {
      const list = heard[i].get(ch);
      assert.equal(new Set(list).size, list.length, `client ${i} heard something twice on ${ch}`);
      for (const entry of acked) {
        const [of, text] = entry.split(' ');
        if (of === ch) assert.ok(list.includes(text), `client ${i} missed ${text} on ${ch}`);
      }
      assert.deepEqual(list, reference, `clients 0 and ${i} agree on ${ch}`);
      for (const who of ['0', '1', '2']) {
        const own = list.filter((t) => t.startsWith(who + ':')).map((t) => Number(t.slice(2)));
        assert.deepEqual(own, [...own].sort((a, b) => a - b), 'in the order of each publisher');
      }
    }
  }
  assert.deepEqual(unresumed, [], 'every channel resumed');
  await closed(...clients);
  links.forEach((l) => l.close());
  await cluster.stop();
});
