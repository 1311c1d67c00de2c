// What test suites of SDKs provision: apps with keys, namespaces and members that are present, and stats.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import { start, queue } from './server.mjs';

const rejects = (code, promise) => assert.rejects(promise, (e) => (assert.equal(e.code, code, e.message), true));

const setup = {
  limits: { presence: { maxMembers: 8 } },
  keys: [{}, { capability: JSON.stringify({ 'channel0': ['publish'] }) }, { capability: JSON.stringify({ '*': ['subscribe'] }) }, { revocableTokens: true }],
  namespaces: [{ id: 'persisted', persisted: true }, { id: 'mutable', mutableMessages: true }],
  channels: [{ name: 'persisted:presence_fixtures', presence: [
    { clientId: 'client_bool', data: 'true' },
    { clientId: 'client_int', data: '24' },
    { clientId: 'client_string', data: 'This is a string clientData payload' },
    { clientId: 'client_json', data: '{ "test": "This is a JSONObject clientData payload"}' },
    { clientId: 'client_decoded', data: '{"example":{"json":"Object"}}', encoding: 'json' },
    { clientId: 'client_encoded', data: 'HO4cYSP8LybPYBPZPHQOtuD53yrD3YV3NBoTEYBh4U0N1QXHbtkfsDfTspKeLQFt', encoding: 'json/utf-8/cipher+aes-128-cbc/base64' },
  ] }],
};

for (const nodes of [1, 3]) {
  describe(nodes === 1 ? 'one node' : 'three nodes', () => {
    let cluster, app, key;
    const at = (i) => i % nodes;
    before(async () => {
      cluster = await start({ nodes });
      const r = await fetch(cluster.url(0) + '/apps', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(setup) });
      assert.equal(r.status, 201);
      app = await r.json();
      key = app.keys[0].keyStr;
    });
    after(async () => assert.equal(await cluster?.stop(), 0));

    test('the app is what was asked for', async () => {
      assert.equal(app.keys.length, 4);
      assert.equal(app.keys[0].capability, '{"*":["*"]}');
      assert.equal(app.keys[3].revocableTokens, true);
      assert.deepEqual(app.namespaces.map((n) => n.id), ['persisted', 'mutable']);
      assert.deepEqual(app.channels, setup.channels);
      await rejects(40160, cluster.rest(at(1), { key: app.keys[1].keyStr }).channels.get('channel1').publish('x', 'x'));
      await cluster.rest(at(2), { key: app.keys[1].keyStr }).channels.get('channel0').publish('x', 'x');
      await rejects(40160, cluster.rest(at(1), { key: app.keys[2].keyStr }).channels.get('channel0').publish('x', 'x'));
      const m = cluster.rest(at(1), { key }).channels.get('mutable:x');
      const { serials } = await m.publish('a', 'b') ?? {};
      if (serials) await m.updateMessage({ serial: serials[0], data: 'c' });
    });

    for (const useBinaryProtocol of [false, true]) {
      test(`members are present from the beginning, ${useBinaryProtocol ? 'binary' : 'JSON'}`, async () => {
        const name = 'persisted:presence_fixtures';
        const want = { client_bool: 'true', client_int: '24', client_string: 'This is a string clientData payload', client_json: '{ "test": "This is a JSONObject clientData payload"}', client_decoded: { example: { json: 'Object' } } };
        const check = (members) => {
          const found = Object.fromEntries(members.map((m) => [m.clientId, m]));
          assert.equal(members.length, 6);
          for (const [id, data] of Object.entries(want)) assert.deepEqual(found[id].data, data);
          assert.equal(found.client_encoded.encoding, 'json/utf-8/cipher+aes-128-cbc');
          assert.ok(members.every((m) => m.connectionId && m.action === 'present'));
        };
        for (let i = 0; i < 3; i++) {
          check((await cluster.rest(at(i), { key, useBinaryProtocol }).channels.get(name).presence.get()).items);
          check(await cluster.realtime(at(i), { key, useBinaryProtocol }).channels.get(name).presence.get());
        }
      });
    }

    test('the limit of members is the app\'s', async () => {
      const ch = cluster.realtime(at(1), { key }).channels.get('crowded');
      for (let i = 0; i < 8; i++) await ch.presence.enterClient(`c${i}`);
      await rejects(91003, ch.presence.enterClient('one too many'));
    });

    test('stats come back as they were made up, summed up', async () => {
      const year = new Date().getUTCFullYear() - 1;
      const fixture = [
        { intervalId: `${year}-02-03:15:03`, inbound: { realtime: { messages: { count: 50, data: 5000 } } }, outbound: { realtime: { messages: { count: 20, data: 2000 } } } },
        { intervalId: `${year}-02-03:15:04`, inbound: { realtime: { messages: { count: 60, data: 6000 } } }, outbound: { realtime: { messages: { count: 10, data: 1000 } } } },
        { intervalId: `${year}-02-03:15:05`, inbound: { realtime: { messages: { count: 70, data: 7000 } } }, outbound: { realtime: { messages: { count: 40, data: 4000 } } },
          persisted: { presence: { count: 20, data: 2000 } }, connections: { tls: { peak: 20, opened: 10 } }, channels: { peak: 50, opened: 30 },
          apiRequests: { succeeded: 50, failed: 10 }, tokenRequests: { succeeded: 60, failed: 20 } },
      ];
      for (const useBinaryProtocol of [false, true]) {
        const posted = await cluster.rest(at(0), { key, useBinaryProtocol }).request('post', '/stats', 3, {}, fixture, {});
        assert.equal(posted.statusCode, 201);
        const rest = cluster.rest(at(0), { key, useBinaryProtocol });
        const minutes = await rest.stats({ start: `${year}-02-03:15:03`, end: `${year}-02-03:15:05`, direction: 'forwards' });
        assert.deepEqual(minutes.items.map((s) => s.entries['messages.inbound.all.messages.count']), [50, 60, 70]);
        assert.deepEqual(minutes.items.map((s) => s.intervalId), fixture.map((f) => f.intervalId));
        for (const [unit, start] of [['hour', `${year}-02-03:15`], ['day', `${year}-02-03`], ['month', `${year}-02`]]) {
          const { items: [s] } = await rest.stats({ start, end: start, unit });
          assert.deepEqual([s.unit, s.entries['messages.inbound.all.messages.count'], s.entries['messages.outbound.all.messages.count'], s.entries['channels.peak'], s.entries['connections.all.opened']],
            [unit, 180, 70, 50, 10]);
        }
        const first = await rest.stats({ start: `${year}-02-03:15:03`, end: `${year}-02-03:15:05`, limit: 1 });
        const second = await first.next();
        assert.deepEqual([first.items[0].intervalId, second.items[0].intervalId], [fixture[2].intervalId, fixture[1].intervalId]);
      }
      const nested = await fetch(`${cluster.url(at(0))}/stats?unit=hour&start=${year}-02-03:15&end=${year}-02-03:15`, { headers: { authorization: 'Basic ' + btoa(key), 'x-ably-version': '2' } }).then((r) => r.json());
      assert.equal(nested[0].inbound.realtime.messages.count, 180);
      assert.equal(nested[0].channels.peak, 50);
      await rejects(40001, cluster.rest(at(0), { key }).request('post', '/stats', 3, {}, [{ intervalId: 'never' }], {}).then((r) => {
        if (!r.success) throw Object.assign(new Error(r.errorMessage), { code: r.errorCode });
      }));
      // What is measured goes on beside it.
      const heard = queue('message');
      const live = cluster.realtime(at(0), { key }).channels.get('live');
      await live.subscribe((m) => heard.push(m));
      await live.publish('m', 'x');
      await heard.next();
    });

    test('a deleted app is gone', async () => {
      const r = await fetch(`${cluster.url(0)}/apps/${app.appId}`, { method: 'DELETE', headers: { authorization: 'Basic ' + btoa(key) } });
      assert.equal(r.status, 204);
      await assert.rejects(cluster.rest(at(1), { key }).channels.get('x').publish('m', 'x'));
    });
  });
}
