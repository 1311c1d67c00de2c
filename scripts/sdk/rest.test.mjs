// REST, seen by ably-js and by fetch: batches, pages, envelopes, errors, browsers.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import Ably from 'ably';
import { start, queue, key } from './server.mjs';

const name = (base) => `${base}:${Math.random().toString(36).slice(2)}`;
const rejects = (code, promise) => assert.rejects(promise, (e) => (assert.equal(e.code, code, e.message), true));

for (const nodes of [1, 3]) {
  describe(nodes === 1 ? 'one node' : 'three nodes', () => {
    let cluster;
    before(async () => (cluster = await start({ nodes })));
    after(async () => assert.equal(await cluster?.stop(), 0));
    const at = (i) => i % nodes;
    const get = (path, headers = {}) => fetch(cluster.url(at(1)) + path, { headers: { authorization: 'Basic ' + btoa(key), ...headers } });

    for (const useBinaryProtocol of [false, true]) {
      describe(useBinaryProtocol ? 'binary protocol' : 'JSON protocol', () => {
        const rest = (i, options = {}) => cluster.rest(at(i), { useBinaryProtocol, ...options });

        test('a batch reaches every channel', async () => {
          const [a, b, c] = [name('batch'), name('batch'), name('batch')];
          const results = await rest(0).batchPublish([
            { channels: [a, b], messages: [{ name: 'one', data: 'x' }, { name: 'two', data: 'y' }] },
            { channels: [c, '[meta]log', ':bad'], messages: { data: { deep: true } } },
          ]);
          assert.deepEqual(results.map((r) => [r.successCount, r.failureCount]), [[2, 0], [1, 2]]);
          assert.deepEqual(results[0].results.map((r) => [r.channel, r.serials.length, typeof r.messageId]), [[a, 2, 'string'], [b, 2, 'string']]);
          assert.deepEqual(results[1].results.map((r) => r.error?.code), [undefined, 40160, 40010]);
          assert.deepEqual((await rest(1).channels.get(b).history({ direction: 'forwards' })).items.map((m) => [m.name, m.data]), [['one', 'x'], ['two', 'y']]);
          assert.deepEqual((await rest(2).channels.get(c).history()).items.map((m) => m.data), [{ deep: true }]);
          const one = await rest(0).batchPublish({ channels: [a], messages: [{ data: 'again' }] });
          assert.equal(one.successCount, 1);
        });

        test('pages follow each other', async () => {
          const ch = rest(0).channels.get(name('pages'));
          for (let i = 0; i < 7; i++) await ch.publish(String(i), i % 2 ? 'text' : Buffer.from([i]));
          for (const direction of ['forwards', 'backwards']) {
            let page = await rest(1).channels.get(ch.name).history({ limit: 3, direction });
            const seen = [];
            for (; page; page = await page.next()) seen.push(...page.items.map((m) => m.name));
            assert.equal(seen.join(''), direction === 'forwards' ? '0123456' : '6543210');
          }
          const first = await (await (await ch.history({ limit: 3 })).next()).first();
          assert.equal(first.items[0].name, '6');
        });

        test('requests of any kind', async () => {
          const r = await rest(0).request('get', '/time', 3, {}, null, {});
          assert.ok(r.success && Math.abs(r.items[0] - Date.now()) < 60_000);
          assert.ok(Math.abs((await rest(1).time()) - Date.now()) < 60_000);
          const lost = await rest(0).request('get', '/keys/ablyjs.test/requestToken', 3, {}, null, {});
          assert.deepEqual([lost.success, lost.statusCode, lost.errorCode], [false, 404, 40400]);
          const status = await rest(2).channels.get(name('status')).status();
          assert.equal(typeof status.status.occupancy.metrics.connections, 'number');
          await rejects(40009, rest(0).channels.get('x').publish('m', 'x'.repeat(70_000)));
        });

        test('a publish for a connection is that connection\'s', async () => {
          const client = cluster.realtime(at(0), { useBinaryProtocol, clientId: 'alice', echoMessages: false });
          const ch = name('behalf');
          const own = queue('own'), other = queue('message');
          await client.channels.get(ch).subscribe((m) => own.push(m));
          await cluster.realtime(at(1), { useBinaryProtocol }).channels.get(ch).subscribe((m) => other.push(m));
          await rest(1).channels.get(ch).publish({ data: 'for her', connectionKey: client.connection.key });
          const m = await other.next();
          assert.deepEqual([m.connectionId, m.clientId, m.connectionKey], [client.connection.id, 'alice', undefined]);
          await rejects(40006, rest(0).channels.get(ch).publish({ data: 'x', connectionKey: 'nobody' }));
          await rejects(40012, rest(0).channels.get(ch).publish({ data: 'x', clientId: 'bob', connectionKey: client.connection.key }));
          await rest(0).channels.get(ch).publish({ data: 'end' });
          assert.equal((await own.next()).data, 'end', 'it is not echoed');
        });
      });
    }

    test('data of every kind goes from each format to each', async () => {
      const kinds = { text: 'grüße', empty: '', bytes: Buffer.from([0, 255, 1]), noBytes: Buffer.alloc(0), object: { a: [1, 'ü'] }, list: [1, 2], nothing: undefined };
      for (const from of [false, true]) {
        for (const to of [false, true]) {
          const ch = name('data');
          const got = queue('message');
          await cluster.realtime(at(0), { useBinaryProtocol: to }).channels.get(ch).subscribe((m) => got.push(m));
          const cipher = { cipher: { key: await Ably.Realtime.Crypto.generateRandomKey(128) } };
          const publisher = cluster.rest(at(1), { useBinaryProtocol: from });
          for (const [kind, data] of Object.entries(kinds)) await publisher.channels.get(ch).publish(kind, data);
          for (const [kind, data] of Object.entries(kinds)) {
            const m = await got.next();
            assert.deepEqual([m.name, m.data, m.encoding ?? null], [kind, data, null]);
          }
          const page = await cluster.rest(at(2), { useBinaryProtocol: to }).channels.get(ch).history({ direction: 'forwards' });
          assert.deepEqual(page.items.map((m) => m.data), Object.values(kinds));
          const secret = name('secret');
          const reader = cluster.realtime(at(2), { useBinaryProtocol: to }).channels.get(secret, cipher);
          const deciphered = queue('deciphered');
          await reader.subscribe((m) => deciphered.push(m.data));
          await publisher.channels.get(secret, cipher).publish('m', { hidden: true });
          assert.deepEqual(await deciphered.next(), { hidden: true });
        }
      }
    });

    test('envelopes carry status and headers', async () => {
      const ch = name('envelope');
      await cluster.rest(at(0)).channels.get(ch).publish([{ data: 'a' }, { data: 'b' }]);
      const r = await get(`/channels/${encodeURIComponent(ch)}/messages?envelope=json&limit=1`);
      const body = await r.json();
      assert.deepEqual([r.status, body.statusCode, body.response.length], [200, 200, 1]);
      assert.match(body.headers.Link, /rel="first".*rel="next"/);
      const lost = await (await get('/nowhere?envelope=json')).json();
      assert.deepEqual([lost.statusCode, lost.response.error.code], [404, 40400]);
    });

    test('errors say what is wrong, in headers as well', async () => {
      for (const [path, status, code, init] of [
        ['/nowhere', 404, 40400],
        ['/time', 404, 40400, { method: 'DELETE' }],
        ['/channels/a/messages/x', 404, 40400],
        ['/channels/a/messages/x/versions', 404, 40400],
        ['/channels/a/messages/x/annotations', 404, 40400],
        ['/channels/%3Abad/messages', 400, 40010],
        ['/messages', 400, 40001, { method: 'POST', body: '{' }],
        ['/channels/a/messages', 400, 40013, { method: 'POST', body: '{"data":1}' }],
        ['/channels/a/messages/x', 400, 40003, { method: 'PATCH', body: '{"action":3}' }],
        ['/channels/a/messages/x', 400, 93002, { method: 'PATCH', body: '{"action":1}' }],
      ]) {
        const r = await fetch(cluster.url(at(2)) + path, { ...init, headers: { authorization: 'Basic ' + btoa(key), 'content-type': 'application/json' } });
        const { error } = await r.json();
        assert.deepEqual([r.status, error.code, r.headers.get('x-ably-errorcode'), r.headers.get('content-type')], [status, code, String(code), 'application/json'], path);
        assert.ok(error.message && error.statusCode === status && r.headers.get('x-ably-errormessage'));
      }
    });

    test('pages of any origin may ask and read', async () => {
      const ask = await fetch(cluster.url(0) + '/channels/a/messages', { method: 'OPTIONS', headers: { origin: 'http://x.test', 'access-control-request-method': 'PATCH' } });
      assert.equal(ask.status, 204);
      assert.match(ask.headers.get('access-control-allow-methods'), /PATCH/);
      assert.match(ask.headers.get('access-control-allow-headers'), /x-ably-version/);
      const r = await get('/channels', { origin: 'http://x.test' });
      assert.equal(r.headers.get('access-control-allow-origin'), 'http://x.test');
      assert.match(r.headers.get('access-control-expose-headers'), /Link/);
      assert.match(r.headers.get('link'), /rel="first"/);
    });
  });
}
