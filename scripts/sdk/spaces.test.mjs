// @ably/spaces, unmodified, on top: members, locations and locks, with its clients on three nodes.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import spaces from '@ably/spaces';
import { start, queue, within } from './server.mjs';

const Spaces = spaces.default ?? spaces; // its ES module is hidden behind CommonJS

let cluster;
const open = [];
before(async () => (cluster = await start({ nodes: 3 })));
after(async () => {
  // The SDK has work under way that it never tells the end of; closed in the middle of it, it rejects promises of its own.
  await Promise.all(open.map((space) => space.leave().catch(() => {})));
  await new Promise((r) => setTimeout(r, 2500));
  assert.equal(await cluster?.stop(), 0, 'innkeeper dev stops cleanly on SIGTERM');
});

let names = 0;

for (const useBinaryProtocol of [false, true]) {
  describe(useBinaryProtocol ? 'binary protocol' : 'JSON protocol', () => {
    // join is a space as a client at a node sees it.
    async function join(name, node, clientId, profile) {
      const client = cluster.realtime(node, { clientId, useBinaryProtocol });
      const space = await within(8000, 'a space', new Spaces(client).get(name, { offlineTimeout: 1500 }));
      open.push(space);
      if (profile) await within(8000, 'entered', space.enter(profile));
      return { client, space };
    }
    // sees waits until a question has the answer that is wanted.
    async function sees(ask, want) {
      for (const end = Date.now() + 8000; ; ) {
        const got = await ask();
        try {
          return assert.deepEqual(got, want);
        } catch (err) {
          if (Date.now() > end) throw err;
        }
        await new Promise((r) => setTimeout(r, 20)); // polls a client that tells of changes in several events
      }
    }
    const name = () => `space-${useBinaryProtocol}-${names++}`;
    const ids = (members) => members.map((m) => m.clientId).sort();

    test('members enter, change their profile and leave', async () => {
      const at = name();
      const a = await join(at, 0, 'alice', { colour: 'red' });
      const events = queue('member events');
      await a.space.members.subscribe((m) => events.push([m.clientId, m.lastEvent.name, m.profileData]));
      const b = await join(at, 1, 'bob', { colour: 'blue' });
      const heard = async (...want) => assert.deepEqual(await events.until((e) => e[0] === want[0] && e[1] === want[1]), want);
      await heard('bob', 'enter', { colour: 'blue' });
      const watcher = await join(at, 2, 'carol');
      await sees(async () => ids(await watcher.space.members.getAll()), ['alice', 'bob']);
      await sees(async () => ids(await a.space.members.getOthers()), ['bob']);
      await b.space.updateProfileData((p) => ({ ...p, size: 3 }));
      await heard('bob', 'update', { colour: 'blue', size: 3 });
      await b.space.leave();
      await events.until((e) => e[0] === 'bob' && e[1] === 'leave');
      await sees(async () => ids((await watcher.space.members.getAll()).filter((m) => m.isConnected)), ['alice']);
    });

    test('locations', async () => {
      const at = name();
      const [a, b] = [await join(at, 0, 'alice', {}), await join(at, 1, 'bob', {})];
      const moves = queue('location updates');
      await a.space.locations.subscribe('update', (u) => moves.push([u.member.clientId, u.currentLocation, u.previousLocation]));
      await b.space.locations.set({ slide: 1 });
      assert.deepEqual(await moves.next(), ['bob', { slide: 1 }, null]);
      await b.space.locations.set({ slide: 2, element: 'title' });
      assert.deepEqual(await moves.next(), ['bob', { slide: 2, element: 'title' }, { slide: 1 }]);
      const late = await join(at, 2, 'carol');
      await sees(async () => Object.values(await late.space.locations.getAll()).filter(Boolean), [{ slide: 2, element: 'title' }]);
    });

    test('locks: one holds, the other waits its turn', async () => {
      const at = name();
      const [a, b] = [await join(at, 0, 'alice', {}), await join(at, 1, 'bob', {})];
      const seen = queue('lock updates');
      await b.space.locks.subscribe('update', (l) => seen.push([l.member.clientId, l.id, l.status]));
      const heard = queue('lock updates of the holder');
      await a.space.locks.subscribe('update', (l) => heard.push([l.member.clientId, l.id, l.status]));
      assert.equal((await a.space.locks.acquire('title', { attributes: { part: 1 } })).status, 'pending');
      assert.deepEqual(await seen.until((l) => l[2] === 'locked'), ['alice', 'title', 'locked']);
      await sees(async () => b.space.locks.get('title')?.member.clientId, 'alice');
      assert.deepEqual(b.space.locks.get('title').attributes, { part: 1 });
      // Who asks for what another one holds does not get it.
      await b.space.locks.acquire('title');
      assert.deepEqual(await seen.until((l) => l[0] === 'bob' && l[2] !== 'pending'), ['bob', 'title', 'unlocked']);
      assert.equal(b.space.locks.get('title').member.clientId, 'alice');
      // The library decides about requests where it is: a holder that lets go before it has heard of one takes that one for
      // the next holder, and everybody else does not. So the holder hears of it first.
      await heard.until((l) => l[0] === 'bob' && l[2] === 'unlocked');
      await a.space.locks.release('title');
      assert.deepEqual(await seen.until((l) => l[2] === 'unlocked'), ['alice', 'title', 'unlocked']);
      await b.space.locks.acquire('title');
      for (const { space } of [a, b]) await sees(async () => space.locks.get('title')?.member.clientId, 'bob');
      const late = await join(at, 2, 'carol');
      await sees(async () => (await late.space.locks.getAll()).map((l) => [l.id, l.member.clientId]), [['title', 'bob']]);
    });

    test('cursors', async () => {
      const at = name();
      const [a, b] = [await join(at, 0, 'alice', {}), await join(at, 1, 'bob', {})];
      const moves = queue('cursor updates');
      await a.space.cursors.subscribe('update', (c) => moves.push([c.clientId, c.position, c.data]));
      await sees(async () => {
        await b.space.cursors.set({ position: { x: 3, y: 4 }, data: { tool: 'pen' } }); // is sent only while somebody watches
        return moves.size > 0;
      }, true);
      assert.deepEqual(await moves.next(), ['bob', { x: 3, y: 4 }, { tool: 'pen' }]);
    });
  });
}
