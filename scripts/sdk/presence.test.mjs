// Presence, seen by ably-js: members that come, change and go, that are many, that lose their connections or their nodes.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import { start, queue, within } from './server.mjs';
import { proxy, realtime, connected, closed, serve, name } from './faults.mjs';

const limit = 300;
const pause = (ms) => new Promise((r) => setTimeout(r, ms));
const ids = (members) => members.map((m) => m.clientId).sort();

// watch collects the presence events of a channel.
async function watch(channel) {
  const events = queue('presence event');
  await channel.presence.subscribe((m) => events.push(m));
  return events;
}

// eventually waits until look gives what is wanted.
async function eventually(what, want, look, ms = 10000) {
  const end = Date.now() + ms;
  for (;;) {
    const got = await look();
    try {
      return assert.deepEqual(got, want);
    } catch (e) {
      if (Date.now() > end) throw new assert.AssertionError({ message: what, actual: got, expected: want, operator: 'deepEqual' });
    }
    await pause(50);
  }
}

for (const nodes of [1, 3]) {
  describe(`presence on ${nodes === 1 ? 'one node' : 'three nodes'}`, () => {
    let cluster;
    before(async () => (cluster = await start({ nodes, args: ['--channels.presence_members', String(limit)] })));
    after(async () => assert.equal(await cluster?.stop(), 0));
    const at = (i) => i % nodes;

    for (const useBinaryProtocol of [false, true]) {
      describe(useBinaryProtocol ? 'binary protocol' : 'JSON protocol', () => {
        const client = (i, options = {}) => connected(cluster.realtime(at(i), { useBinaryProtocol, ...options }));

        test('enter, update and leave reach everybody in order', async () => {
          const [a, b] = [await client(0, { clientId: 'alice' }), await client(1, { useBinaryProtocol: !useBinaryProtocol })];
          const ch = name('events');
          const events = await watch(b.channels.get(ch));
          const presence = a.channels.get(ch).presence;
          const values = ['text', { an: 'object' }, Buffer.from([0, 255]), ''];
          await presence.enter();
          for (const v of values) await presence.update(v);
          await presence.leave();
          await presence.enter('again');
          await presence.leave('farewell');
          const want = [['enter', undefined], ...values.map((v) => ['update', v]), ['leave', ''], ['enter', 'again'], ['leave', 'farewell']];
          for (const [i, [action, data]] of want.entries()) {
            const m = await events.next();
            assert.equal(m.action, action, `event ${i}`);
            assert.deepEqual(m.data ?? undefined, data, `data of event ${i}`);
            assert.equal(m.clientId, 'alice');
            assert.equal(m.connectionId, a.connection.id);
            assert.equal(m.id, `${a.connection.id}:${i}:0`);
            assert.ok(Math.abs(m.timestamp - Date.now()) < 60000);
          }
          assert.equal(events.size, 0);
          await closed(a, b);
        });

        test('who comes later is told who is there', async () => {
          const [a, b, c] = [await client(0, { clientId: 'alice' }), await client(1, { clientId: 'bob' }), await client(2, { clientId: 'alice' })];
          const ch = name('sync');
          await a.channels.get(ch).presence.enter('a');
          await b.channels.get(ch).presence.enter('b');
          await c.channels.get(ch).presence.enter('c');
          const late = await client(1);
          const members = await within(8000, 'members', late.channels.get(ch).presence.get());
          assert.deepEqual(members.map((m) => [m.clientId, m.data, m.action]).sort(), [['alice', 'a', 'present'], ['alice', 'c', 'present'], ['bob', 'b', 'present']]);
          assert.deepEqual(members.map((m) => m.connectionId).sort(), [a, b, c].map((x) => x.connection.id).sort());
          assert.deepEqual(ids(await late.channels.get(ch).presence.get({ clientId: 'bob' })), ['bob']);
          assert.deepEqual(await within(8000, 'nobody', late.channels.get(name('empty')).presence.get()), []);
          await closed(a, b, c, late);
        });

        test('a connection that is closed, and one that detaches, leave at once', async () => {
          const [a, b, c] = [await client(0, { clientId: 'alice' }), await client(1, { clientId: 'bob' }), await client(2)];
          const ch = name('leave');
          const events = await watch(c.channels.get(ch));
          await a.channels.get(ch).presence.enter('a');
          await b.channels.get(ch).presence.enter('b');
          for (let i = 0; i < 2; i++) assert.equal((await events.next()).action, 'enter');
          await a.channels.get(ch).detach();
          const first = await events.next(3000);
          assert.deepEqual([first.action, first.clientId, first.data], ['leave', 'alice', 'a']);
          await closed(b);
          const second = await events.next(3000);
          assert.deepEqual([second.action, second.clientId, second.data], ['leave', 'bob', 'b']);
          assert.deepEqual(await c.channels.get(ch).presence.get(), []);
          await closed(a, c);
        });

        test('250 clients on one connection', async () => {
          const [a, b] = [await client(0), await client(1)];
          const ch = name('many');
          const events = await watch(b.channels.get(ch));
          const want = Array.from({ length: 250 }, (_, i) => `client${String(i).padStart(3, '0')}`);
          const channel = a.channels.get(ch);
          // the first half waits for the attach and goes out in one frame, the others each in one of its own
          const first = want.slice(0, 125).map((id) => channel.presence.enterClient(id, { id }));
          await channel.attach();
          await within(10000, 'entered', Promise.all([...first, ...want.slice(125).map((id) => channel.presence.enterClient(id, { id }))]));
          const seen = [];
          for (let i = 0; i < 250; i++) {
            const m = await events.next();
            assert.deepEqual([m.action, m.data], ['enter', { id: m.clientId }]);
            seen.push(m.clientId);
          }
          assert.deepEqual(seen.sort(), want);
          const late = await client(2);
          assert.deepEqual(ids(await within(8000, 'members', late.channels.get(ch).presence.get())), want);
          await within(8000, 'updated', Promise.all(want.slice(0, 100).map((id) => channel.presence.updateClient(id, 'new'))));
          for (let i = 0; i < 100; i++) assert.equal((await events.next()).action, 'update');

          const rest = cluster.rest(at(2), { useBinaryProtocol }).channels.get(ch).presence;
          const pages = [];
          for (let page = await rest.get({ limit: 100 }); page; page = page.hasNext() ? await page.next() : null) pages.push(page.items);
          assert.deepEqual(pages.map((p) => p.length), [100, 100, 50]);
          assert.deepEqual(ids(pages.flat()), want);
          assert.ok(pages.flat().every((m) => m.action === 'present' && m.connectionId === a.connection.id));
          assert.deepEqual((await rest.get({ clientId: 'client007' })).items.map((m) => m.data), ['new']);
          assert.equal((await rest.get({ connectionId: a.connection.id, limit: 1000 })).items.length, 250);
          assert.equal((await rest.get({ connectionId: 'nobody' })).items.length, 0);

          const status = await cluster.rest(at(1), { useBinaryProtocol }).channels.get(ch).status();
          const metrics = status.status.occupancy.metrics;
          assert.deepEqual([metrics.presenceMembers, metrics.presenceConnections, metrics.presenceSubscribers], [250, 3, 3]);
          await closed(a);
          for (let i = 0; i < 250; i++) assert.equal((await events.next()).action, 'leave');
          await closed(b, late);
        });

        test('the set has a bound', async () => {
          const a = await client(0);
          const channel = a.channels.get(name('full'));
          await channel.attach();
          const results = await within(10000, 'answers', Promise.allSettled(
            Array.from({ length: limit + 1 }, (_, i) => channel.presence.enterClient(`c${i}`))));
          const refused = results.filter((r) => r.status === 'rejected');
          assert.deepEqual(refused.map((r) => r.reason.code), [91003]);
          await channel.presence.updateClient('c1', 'x');
          await channel.presence.leaveClient('c1');
          await channel.presence.enterClient('another');
          assert.equal((await channel.presence.get()).length, limit);
          await closed(a);
        });

        test('who may not is told why', async () => {
          const a = await client(0);
          const readOnly = a.channels.get(name('modes'), { modes: ['subscribe', 'presence_subscribe'] });
          await readOnly.attach();
          await assert.rejects(readOnly.presence.enterClient('x'), (e) => e.code === 40165 || e.code === 40160);
          const named = await client(1, { clientId: 'bob' });
          const channel = named.channels.get(name('named'));
          await channel.attach();
          await assert.rejects(channel.presence.enterClient('alice'), (e) => e.code === 40012);
          await channel.presence.enterClient('bob');
          const token = await cluster.rest(at(0)).auth.createTokenRequest({ clientId: '*', capability: { 'look:*': ['subscribe'] } });
          const guest = await connected(cluster.realtime(at(2), { key: undefined, authCallback: (_, done) => done(null, token), useBinaryProtocol }));
          await assert.rejects(guest.channels.get(name('look')).presence.enterClient('x'), (e) => e.code === 40160);
          await closed(a, named, guest);
        });

        test('a member sees itself where others are not shown', async () => {
          const [a, b] = [await client(0, { clientId: 'alice' }), await client(1, { clientId: 'bob' })];
          const ch = name('own');
          const channel = a.channels.get(ch, { modes: ['presence'] });
          const events = await watch(channel);
          await b.channels.get(ch).presence.enter();
          await channel.presence.enter('me');
          const m = await events.next();
          assert.deepEqual([m.clientId, m.data], ['alice', 'me']);
          assert.equal(events.size, 0);
          await closed(a, b);
        });

        test('history and members of several channels', async () => {
          const a = await client(0, { clientId: 'alice' });
          const [one, two, none] = [name('one'), name('two'), name('none')];
          const channel = a.channels.get(one);
          await channel.attach();
          await channel.publish('not', 'presence');
          await channel.presence.enter('one');
          await channel.presence.update(Buffer.from('two'));
          await channel.presence.leave();
          await a.channels.get(two).presence.enter({ k: 'v' });
          const rest = cluster.rest(at(1), { useBinaryProtocol });
          const page = await rest.channels.get(one).presence.history({ direction: 'forwards', limit: 2 });
          assert.deepEqual(page.items.map((m) => m.action), ['enter', 'update']);
          const next = await page.next();
          assert.deepEqual(next.items.map((m) => [m.action, m.data]), [['leave', Buffer.from('two')]]);
          assert.equal(next.hasNext(), false);
          assert.deepEqual((await channel.presence.history()).items.map((m) => m.action), ['leave', 'update', 'enter']);
          assert.equal((await channel.presence.history({ untilAttach: true })).items.length, 0);
          assert.deepEqual((await channel.history()).items.map((m) => m.name), ['not'], 'messages have a history of their own');

          const batch = await rest.batchPresence([one, two, none]);
          assert.deepEqual([batch.successCount, batch.failureCount], [3, 0]);
          assert.deepEqual(batch.results.map((r) => [r.channel, r.presence.length]), [[one, 0], [two, 1], [none, 0]]);
          assert.equal(batch.results[1].presence[0].clientId, 'alice');
          await closed(a);
        });

        test('a connection that comes back in time never leaves', async () => {
          const link = await proxy(cluster.port(at(0)));
          const a = await connected(realtime(link.port, { useBinaryProtocol, clientId: 'alice', transportParams: { remainPresentFor: 4000 } }));
          const b = await client(1);
          const ch = name('resume');
          const events = await watch(b.channels.get(ch));
          await a.channels.get(ch).presence.enter('here');
          assert.equal((await events.next()).action, 'enter');
          for (const node of [1, 2, 0]) {
            link.off();
            await within(8000, 'disconnected', a.connection.once('disconnected'));
            await pause(300);
            link.to(cluster.port(at(node)));
            await connected(a);
            await eventually('attached again', 'attached', () => a.channels.get(ch).state);
          }
          await pause(4500); // longer than it would have stayed
          assert.equal(events.size, 0, 'nobody heard of it');
          assert.deepEqual(ids(await b.channels.get(ch).presence.get()), ['alice']);
          await a.channels.get(ch).presence.update('still');
          assert.deepEqual((await events.next()).data, 'still');
          await closed(a, b);
          link.close();
        });

        // ably-js enters its members again when it is back, and it still counts one that has left when it was not told so yet.
        for (const when of ['while it is away', 'just before it is cut off']) {
          test(`who leaves ${when} stays away`, async () => {
            const link = await proxy(cluster.port(at(0)));
            const a = await connected(realtime(link.port, { useBinaryProtocol, clientId: 'alice' }));
            const b = await client(1);
            const ch = name('gone');
            const events = await watch(b.channels.get(ch));
            const presence = a.channels.get(ch).presence;
            await presence.enter('here');
            assert.equal((await events.next()).action, 'enter');
            if (when === 'while it is away') {
              link.off();
              await within(8000, 'disconnected', a.connection.once('disconnected'));
            }
            const left = presence.leave();
            link.to(cluster.port(at(2)));
            await within(15000, 'left', left);
            await connected(a);
            await eventually('attached again', 'attached', () => a.channels.get(ch).state);
            assert.equal((await events.next()).action, 'leave');
            await presence.enter('again'); // what it said before that has been done
            const m = await events.next();
            assert.deepEqual([m.action, m.data], ['enter', 'again']);
            assert.equal(events.size, 0);
            await presence.leave();
            assert.equal((await events.next()).action, 'leave');
            for (const c of [a, b]) assert.deepEqual(await c.channels.get(ch).presence.get(), []);
            await closed(a, b);
            link.close();
          });
        }

        test('a connection that does not come back leaves after its time', async () => {
          const link = await proxy(cluster.port(at(0)));
          const a = await connected(realtime(link.port, { useBinaryProtocol, clientId: 'alice', transportParams: { remainPresentFor: 1500 } }));
          const b = await client(1);
          const ch = name('lost');
          const events = await watch(b.channels.get(ch));
          await a.channels.get(ch).presence.enter('here');
          assert.equal((await events.next()).action, 'enter');
          const since = Date.now();
          link.off();
          const m = await events.next(8000);
          assert.deepEqual([m.action, m.clientId, m.data], ['leave', 'alice', 'here']);
          assert.ok(Date.now() - since >= 1400 && Date.now() - since < 4000, `after ${Date.now() - since} ms`);
          // When it comes back it enters again by itself.
          link.to(cluster.port(at(2)));
          const again = await events.next(15000);
          assert.deepEqual([again.action, again.clientId, again.data], ['enter', 'alice', 'here']);
          await closed(a, b);
          link.close();
        });

        test('a watcher that was away learns who left and who came', async () => {
          const link = await proxy(cluster.port(at(0)));
          const w = await connected(realtime(link.port, { useBinaryProtocol }));
          const a = await client(1);
          const channel = a.channels.get(name('away'));
          for (const id of ['stays', 'changes', 'leaves']) await channel.presence.enterClient(id, '1');
          const events = await watch(w.channels.get(channel.name));
          await eventually('three', 3, async () => (await w.channels.get(channel.name).presence.get()).length);
          while (events.size) await events.next();
          link.off();
          await within(8000, 'disconnected', w.connection.once('disconnected'));
          await channel.presence.leaveClient('leaves');
          await channel.presence.updateClient('changes', '2');
          await channel.presence.enterClient('comes', '3');
          link.to(cluster.port(at(2)));
          await connected(w);
          const heard = [];
          for (let i = 0; i < 3; i++) heard.push(await events.next());
          assert.deepEqual(heard.map((m) => `${m.action} ${m.clientId} ${m.data}`).sort(), ['enter comes 3', 'leave leaves 1', 'update changes 2']);
          assert.deepEqual(ids(await w.channels.get(channel.name).presence.get()), ['changes', 'comes', 'stays']);
          await closed(w, a);
          link.close();
        });
      });
    }
  });
}

for (const useBinaryProtocol of [false, true]) {
  test(`members outlive any node that is killed (${useBinaryProtocol ? 'binary' : 'JSON'} protocol)`, { timeout: 180000 }, async () => {
    const cluster = await serve(3);
    const links = await Promise.all([0, 1, 2].map((i) => proxy(cluster.port(i))));
    const clients = await Promise.all(links.map((l, i) => connected(realtime(l.port, { useBinaryProtocol, clientId: `client${i}` }))));
    const channels = Array.from({ length: 12 }, () => name('kill'));
    const left = [];
    for (const ch of channels) {
      for (const [i, c] of clients.entries()) {
        await c.channels.get(ch).presence.subscribe('leave', (m) => left.push(`client ${i} saw ${m.clientId} leave ${ch}`));
        await c.channels.get(ch).presence.enter(`at ${i}`);
      }
    }
    const everybody = ['client0 at 0', 'client1 at 1', 'client2 at 2'];
    const agree = async (when) => {
      for (const ch of channels) {
        for (const [i, c] of clients.entries()) {
          await eventually(`${when}: members of ${ch} to client ${i}`, everybody, async () =>
            (await within(15000, 'members', c.channels.get(ch).presence.get())).map((m) => `${m.clientId} ${m.data}`).sort(), 20000);
        }
        const rest = links.map((_, i) => realtime(cluster.port(i), { autoConnect: false }));
        for (const r of rest) {
          await eventually(`${when}: members of ${ch} by REST`, everybody, async () => {
            const page = await r.request('get', `/channels/${encodeURIComponent(ch)}/presence`, 3, {}).catch(() => null);
            return page?.success ? page.items.map((m) => `${m.clientId} ${m.data}`).sort() : page?.errorMessage;
          }, 20000);
        }
      }
    };
    await agree('at first');
    await pause(1500); // copies are made
    for (const victim of [0, 1, 2]) {
      await cluster.kill(victim);
      links[victim].to(cluster.port((victim + 1) % 3));
      await pause(3000);
      await cluster.restart(victim);
      links[victim].to(cluster.port(victim));
      await connected(clients[victim]);
      await agree(`after node ${victim}`);
      assert.deepEqual(left, [], 'nobody left');
    }
    await pause(16000); // whoever is taken for lost would leave by now
    assert.deepEqual(left, [], 'nobody left');
    await agree('at the end');
    // A node dies together with a client: only that one leaves.
    links[2].off();
    await cluster.kill(2);
    for (const ch of channels) {
      for (const c of clients.slice(0, 2)) {
        await eventually(`members of ${ch} without client 2`, everybody.slice(0, 2), async () =>
          (await c.channels.get(ch).presence.get()).map((m) => `${m.clientId} ${m.data}`).sort(), 30000);
      }
    }
    assert.equal(left.length, 2 * channels.length);
    assert.ok(left.every((l) => l.includes('saw client2 leave')));
    for (const c of clients) c.close();
    links.forEach((l) => l.close());
    await cluster.stop();
  });
}
