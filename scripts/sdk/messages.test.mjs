// What becomes of messages, seen by ably-js: updates, deletes, appends, annotations, deltas, ephemeral ones, ids.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import Ably from 'ably';
import vcdiff from '@ably/vcdiff-decoder';
import { start, queue, within } from './server.mjs';

const name = (base) => `${base}:${Math.random().toString(36).slice(2)}`;
const rejects = (code, promise) => assert.rejects(promise, (e) => (assert.equal(e.code, code, e.message), true));

// provision makes an app with a namespace whose messages may change.
async function provision(cluster) {
  const keys = [
    { capability: JSON.stringify({ '*': ['*'] }) },
    { capability: JSON.stringify({ '*': ['publish', 'subscribe', 'history', 'message-update-own', 'message-delete-own'] }) },
    { capability: JSON.stringify({ '*': ['publish', 'subscribe', 'history', 'annotation-subscribe'] }) },
  ];
  const r = await fetch(cluster.url(0) + '/apps', {
    method: 'POST', headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ keys, namespaces: [{ id: 'mutable', mutableMessages: true }] }),
  });
  assert.equal(r.status, 201);
  const app = await r.json();
  // The other nodes hear of it through the log.
  for (let i = 0; i < cluster.nodes; i++) {
    for (const end = Date.now() + 8000; ; ) {
      const ok = await fetch(cluster.url(i) + '/channels', { headers: { authorization: 'Basic ' + btoa(app.keys[0].keyStr) } }).then((r) => r.ok);
      if (ok) break;
      assert.ok(Date.now() < end, 'the app is known on every node');
      await new Promise((r) => setTimeout(r, 20));
    }
  }
  return app.keys.map((k) => k.keyStr);
}

for (const nodes of [1, 3]) {
  describe(nodes === 1 ? 'one node' : 'three nodes', () => {
    let cluster, keys;
    before(async () => {
      cluster = await start({ nodes });
      keys = await provision(cluster);
    });
    after(async () => assert.equal(await cluster?.stop(), 0));
    const at = (i) => i % nodes;

    for (const useBinaryProtocol of [false, true]) {
      describe(useBinaryProtocol ? 'binary protocol' : 'JSON protocol', () => {
        const clients = [];
        const client = (i, options = {}) => {
          const c = cluster.realtime(at(i), { useBinaryProtocol, key: keys[0], ...options });
          clients.push(c);
          return c;
        };
        const rest = (i, options = {}) => cluster.rest(at(i), { useBinaryProtocol, key: keys[0], ...options });
        after(() => clients.forEach((c) => c.close()));

        test('messages are updated, appended to and deleted', async () => {
          const ch = name('mutable');
          const writer = client(0, { clientId: 'alice' }).channels.get(ch);
          const reader = client(1).channels.get(ch);
          const got = queue('message');
          await reader.subscribe((m) => got.push(m));
          const whole = queue('whole message');
          await client(2).channels.get(ch, { params: { appendMode: 'full' } }).subscribe((m) => whole.push(m));

          const { serials } = await writer.publish({ name: 'greeting', data: 'hello', extras: { headers: { a: 1 } } });
          const created = await got.next();
          await whole.next();
          assert.equal(created.serial, serials[0]);
          assert.equal(created.action, 'message.create');
          assert.equal(created.version.serial, created.serial);

          const op = { clientId: 'alice', description: 'a typo', metadata: { why: 'because' } };
          const { versionSerial } = await writer.updateMessage({ ...created, data: 'hallo' }, op);
          const updated = await got.next();
          assert.equal(updated.action, 'message.update');
          assert.equal(updated.data, 'hallo');
          assert.equal(updated.name, 'greeting');
          assert.equal(updated.serial, created.serial);
          assert.equal(updated.timestamp, created.timestamp);
          assert.equal(updated.clientId, 'alice');
          assert.deepEqual(updated.extras, { headers: { a: 1 } });
          assert.equal(updated.version.serial, versionSerial);
          assert.ok(versionSerial > created.serial);
          assert.ok(updated.version.timestamp >= created.timestamp);
          assert.deepEqual([updated.version.clientId, updated.version.description, updated.version.metadata], ['alice', 'a typo', { why: 'because' }]);
          assert.equal((await whole.next()).data, 'hallo');

          await rest(1).channels.get(ch).appendMessage({ serial: created.serial, data: ' Welt' });
          const appended = await got.next();
          assert.deepEqual([appended.action, appended.data, appended.serial], ['message.append', ' Welt', created.serial]);
          const all = await whole.next();
          assert.deepEqual([all.action, all.data, all.name], ['message.update', 'hallo Welt', 'greeting']);
          await writer.appendMessage({ serial: created.serial, data: '!' });
          assert.equal((await got.next()).data, '!');
          assert.equal((await whole.next()).data, 'hallo Welt!');

          await writer.publish('other', 'x');
          assert.equal((await got.next()).name, 'other');
          const page = await rest(2).channels.get(ch).history();
          assert.deepEqual(page.items.map((m) => [m.name, m.data, m.action]), [['other', 'x', 'message.create'], ['greeting', 'hallo Welt!', 'message.update']]);
          assert.equal(page.items[1].serial, created.serial);

          const late = queue('rewound');
          await client(2).channels.get(ch, { params: { rewind: '2' } }).subscribe((m) => late.push(m));
          assert.deepEqual([(await late.next()).data, (await late.next()).name], ['hallo Welt!', 'other']);

          await rest(0, { clientId: 'moderator' }).channels.get(ch).deleteMessage({ serial: created.serial, data: '' }, { description: 'gone' });
          const deleted = await got.next();
          assert.deepEqual([deleted.action, deleted.serial, deleted.version.description, deleted.version.clientId], ['message.delete', created.serial, 'gone', 'moderator']);
          const one = await reader.getMessage(created.serial);
          assert.equal(one.action, 'message.delete');
          const versions = await rest(1).channels.get(ch).getMessageVersions(created.serial);
          assert.deepEqual(versions.items.map((m) => m.data), ['hello', 'hallo', 'hallo Welt', 'hallo Welt!', '']);
          assert.deepEqual(versions.items.map((m) => m.version.serial), versions.items.map((m) => m.version.serial).toSorted());
          const first = await rest(1).channels.get(ch).getMessageVersions(created.serial, { limit: 3 });
          const second = await first.next();
          assert.deepEqual([first.items.length, second.items.map((m) => m.data), second.hasNext()], [3, ['hallo Welt!', ''], false]);
        });

        test('who may change what', async () => {
          const ch = name('mutable');
          const { serials: [serial] } = await client(0, { clientId: 'alice' }).channels.get(ch).publish('m', 'x');
          const own = client(1, { key: keys[1], clientId: 'alice' }).channels.get(ch);
          const other = client(2, { key: keys[1], clientId: 'bob' }).channels.get(ch);
          await own.updateMessage({ serial, data: 'y' });
          await rejects(40160, other.updateMessage({ serial, data: 'z' }));
          await rejects(40160, rest(0, { key: keys[1], clientId: 'bob' }).channels.get(ch).deleteMessage({ serial }));
          await rejects(40166, client(0, { key: keys[1] }).channels.get(ch).updateMessage({ serial, data: 'z' }));
          await rejects(40160, client(0, { key: keys[2] }).channels.get(ch).updateMessage({ serial, data: 'z' }));
          await rejects(40400, own.updateMessage({ serial: serial.replace(':000', ':001'), data: 'z' }));
          await rejects(40400, rest(1).channels.get(ch).getMessage('nothing'));
          await rejects(40009, own.appendMessage({ serial, data: 'x'.repeat(65536) }));
          await rejects(40013, own.appendMessage({ serial, data: { a: 1 } }));
          const plain = client(0).channels.get(name('plain'));
          const published = await plain.publish('m', 'x');
          await rejects(93002, plain.updateMessage({ serial: published.serials[0], data: 'y' }));
          await rejects(93002, rest(1).channels.get(plain.name).updateMessage({ serial: published.serials[0], data: 'y' }));
          await rejects(93002, plain.annotations.publish(published.serials[0], { type: 'r:total.v1' }));
          assert.equal((await rest(2).channels.get(ch).getMessage(serial)).data, 'y');
        });

        test('annotations are delivered, summarised and listed', async () => {
          const ch = name('mutable');
          const modes = ['publish', 'subscribe', 'annotation_publish', 'annotation_subscribe'];
          const alice = client(0, { clientId: 'alice' }).channels.get(ch, { modes });
          const bob = client(1, { clientId: 'bob' }).channels.get(ch);
          const raw = queue('annotation'), sums = queue('summary'), only = queue('annotation without messages'), none = queue('plain');
          await alice.annotations.subscribe((a) => raw.push(a));
          await bob.subscribe((m) => m.action === 'message.summary' && sums.push(m));
          const listener = client(2, { key: keys[2] }).channels.get(ch, { modes: ['annotation_subscribe'] });
          await listener.annotations.subscribe((a) => only.push(a));
          await bob.annotations.subscribe((a) => none.push(a)).catch((e) => assert.equal(e.code, 93001));
          const { serials: [serial] } = await alice.publish('m', 'x');

          await bob.annotations.publish(serial, { type: 'reaction:distinct.v1', name: '👍', data: { deep: [1] }, extras: { headers: { h: 1 } } });
          const a = await raw.next();
          assert.deepEqual([a.action, a.type, a.name, a.clientId, a.messageSerial, a.data], ['annotation.create', 'reaction:distinct.v1', '👍', 'bob', serial, { deep: [1] }]);
          assert.ok(a.serial > serial && a.id && a.timestamp);
          assert.equal((await only.next()).id, a.id);
          const s = await sums.next();
          assert.equal(s.serial, serial);
          assert.deepEqual(s.annotations.summary, { 'reaction:distinct.v1': { '👍': { total: 1, clientIds: ['bob'], clipped: false } } });

          await rest(1, { clientId: 'carol' }).channels.get(ch).annotations.publish(serial, { type: 'reaction:distinct.v1', name: '👍' });
          assert.deepEqual((await sums.next()).annotations.summary['reaction:distinct.v1']['👍'].clientIds, ['bob', 'carol']);
          await rest(0).channels.get(ch).annotations.publish(serial, { type: 'vote:multiple.v1', name: 'yes', count: 4 });
          assert.deepEqual((await sums.next()).annotations.summary['vote:multiple.v1'], { yes: { total: 4, clientIds: {}, totalUnidentified: 4, clipped: false, totalClientIds: 0 } });
          await raw.next(), await raw.next();

          await bob.annotations.delete(serial, { ...a, clientId: 'bob' });
          const gone = await raw.next();
          assert.deepEqual([gone.action, gone.clientId], ['annotation.delete', 'bob']);
          assert.deepEqual((await sums.next()).annotations.summary['reaction:distinct.v1'], { '👍': { total: 1, clientIds: ['carol'], clipped: false } });

          const list = await rest(2).channels.get(ch).annotations.get(serial, { limit: 3 });
          assert.deepEqual(list.items.map((x) => x.clientId), ['bob', 'carol', undefined]);
          const more = await list.next();
          assert.deepEqual(more.items.map((x) => x.action), ['annotation.delete']);
          assert.equal(more.hasNext(), false);
          const [kept] = (await rest(1).channels.get(ch).history()).items;
          assert.deepEqual(kept.annotations.summary['reaction:distinct.v1']['👍'].clientIds, ['carol']);

          await rejects(40161, client(0).channels.get(ch).annotations.publish(serial, { type: 'r:flag.v1' }));
          await rejects(40003, bob.annotations.publish(serial, { type: 'r:distinct.v1' }));
          await rejects(40003, bob.annotations.publish(serial, { type: 'r' }));
          await rejects(40400, bob.annotations.publish('nothing', { type: 'r:total.v1' }));
          await rejects(40160, client(0, { key: keys[2], clientId: 'x' }).channels.get(ch).annotations.publish(serial, { type: 'r:total.v1' }));
          assert.equal(none.size, 0, 'annotations are not for those who did not ask');
        });

        test('deltas are smaller and come out right', async () => {
          const ch = name('delta');
          const plugins = { vcdiff };
          let decoded = 0;
          const counting = { vcdiff: { ...vcdiff, decode: (delta, base) => (decoded++, vcdiff.decode(delta, base)) } };
          const channel = client(1, { plugins: counting }).channels.get(ch, { params: { delta: 'vcdiff' } });
          const got = queue('message');
          await channel.subscribe((m) => got.push(m));
          assert.equal(channel.params.delta, 'vcdiff');
          const publisher = client(0, { plugins }).channels.get(ch);
          const rows = Array.from({ length: 40 }, (_, i) => ({ id: i, name: `player ${i}`, score: 0 }));
          const text = (i) => `${'The quick brown fox jumps over the lazy dog. '.repeat(6)} ${i}`;
          const sent = [];
          const send = async (...messages) => {
            await publisher.publish(messages);
            sent.push(...messages);
          };
          for (let i = 0; i < 10; i++) {
            rows[i].score = i;
            await send({ name: 'rows', data: structuredClone(rows) });
          }
          for (let i = 0; i < 10; i++) await send({ name: 'text', data: text(i) });
          await send({ name: 'nothing' });
          await send({ name: 'tiny', data: 'x' });
          await send({ name: 'bytes', data: Buffer.from(text(1)) }, { name: 'bytes', data: Buffer.from(text(2)) }, { name: 'text', data: text(3) });
          await send({ name: 'bytes', data: Buffer.from(text(3)), extras: { headers: { kept: 'yes' } } });
          for (const want of sent) {
            const m = await got.next();
            assert.equal(m.name, want.name);
            assert.deepEqual(m.data, want.data);
            if (want.extras) assert.equal(m.extras.headers.kept, 'yes');
          }
          assert.ok(decoded >= 21, `${decoded} of ${sent.length} came as deltas`);
          assert.equal(got.size, 0);
        });

        test('a client that lost track of deltas is told again', async () => {
          const ch = name('delta');
          let fail = false;
          const broken = { vcdiff: { ...vcdiff, decode: (delta, base) => {
            if (!fail) return vcdiff.decode(delta, base);
            fail = false;
            throw new Error('made to fail');
          } } };
          const channel = client(1, { plugins: broken }).channels.get(ch, { params: { delta: 'vcdiff' } });
          const got = queue('message');
          await channel.subscribe((m) => got.push(m));
          const publisher = client(0).channels.get(ch);
          const text = (i) => `${'all work and no play makes jack a dull boy '.repeat(8)} ${i}`;
          for (let i = 0; i < 20; i++) {
            if (i === 7) fail = true;
            await publisher.publish('m', text(i));
          }
          for (let i = 0; i < 20; i++) assert.equal((await got.next()).data, text(i));
          assert.equal(got.size, 0);
          assert.equal(fail, false);
        });

        test('ephemeral messages are delivered and kept nowhere', async () => {
          const ch = name('passing');
          const got = queue('message');
          await client(1).channels.get(ch).subscribe((m) => got.push(m.data));
          const publisher = client(0).channels.get(ch);
          await publisher.publish('m', 'kept');
          await publisher.publish({ name: 'm', data: 'passing', extras: { ephemeral: true } });
          await rest(2).channels.get(ch).publish({ name: 'm', data: 'by param' }, { ephemeral: true });
          await publisher.publish('m', 'last');
          for (const want of ['kept', 'passing', 'by param', 'last']) assert.equal(await got.next(), want);
          assert.deepEqual((await rest(0).channels.get(ch).history()).items.map((m) => m.data), ['last', 'kept']);
          await rejects(40032, publisher.publish([{ data: 'a', extras: { ephemeral: true } }, { data: 'b' }]));
        });

        test('echoes are suppressed where that is asked for', async () => {
          const ch = name('echo');
          const quiet = client(0, { echoMessages: false }).channels.get(ch);
          const half = client(0).channels.get(ch, { params: { echo: 'false' } });
          const loud = client(0).channels.get(ch);
          const heard = { quiet: [], half: [], loud: [] };
          const end = Promise.all([['quiet', quiet], ['half', half], ['loud', loud]].map(async ([who, c]) => {
            let done;
            const ended = new Promise((r) => (done = r));
            await c.subscribe((m) => (m.data === 'end' ? done() : heard[who].push(m.data)));
            return { ended };
          }));
          const waits = await end;
          await quiet.publish('m', 'quiet');
          await half.publish('m', 'half');
          await loud.publish('m', 'loud');
          await loud.publish({ data: 'not to me', extras: { echo: false } });
          await rest(1).channels.get(ch).publish('m', 'end');
          await within(8000, 'the end', Promise.all(waits.map((w) => w.ended)));
          assert.deepEqual(heard, { quiet: ['half', 'loud', 'not to me'], half: ['quiet', 'loud', 'not to me'], loud: ['quiet', 'half', 'loud'] });
        });

        test('what is published twice under an id is published once', async () => {
          const ch = name('ids');
          const got = queue('message');
          await client(1).channels.get(ch).subscribe((m) => got.push(m.id));
          const a = await rest(0).channels.get(ch).publish({ id: 'one', data: 'x' });
          const b = await rest(1).channels.get(ch).publish({ id: 'one', data: 'x' });
          assert.deepEqual(a?.serials, b?.serials);
          await rest(2).channels.get(ch).publish([{ id: 'two:0' }, { id: 'two:1' }]);
          await client(0).channels.get(ch).publish([{ id: 'two:0' }, { id: 'two:1' }]);
          await rejects(40031, rest(0).channels.get(ch).publish([{ id: 'x:0' }, { id: 'y:1' }]));
          await rest(0).channels.get(ch).publish({ id: 'end' });
          for (const want of ['one', 'two:0', 'two:1', 'end']) assert.equal(await got.next(), want);
          assert.equal(got.size, 0);
        });
      });
    }
  });
}

describe('three nodes and a client that is cut off', () => {
  let cluster, keys;
  before(async () => {
    cluster = await start({ nodes: 3 });
    keys = await provision(cluster);
  });
  after(async () => assert.equal(await cluster?.stop(), 0));

  test('a client that resumes hears the changes it missed', async () => {
    const ch = name('mutable');
    const reader = cluster.realtime(1, { key: keys[0], disconnectedRetryTimeout: 100 });
    const got = queue('message');
    await reader.channels.get(ch).subscribe((m) => got.push(m));
    const rest = cluster.rest(0, { key: keys[0], clientId: 'x' }).channels.get(ch);
    await rest.publish('m', 'one');
    const { serial } = await got.next();
    reader.connection.connectionManager.disconnectAllTransports();
    await rest.updateMessage({ serial, data: 'two' });
    await rest.appendMessage({ serial, data: ' three' });
    await rest.annotations.publish(serial, { type: 'r:flag.v1' });
    const heard = [await got.next(), await got.next(), await got.next()];
    assert.deepEqual(heard.map((m) => [m.action, m.data]), [['message.update', 'two'], ['message.append', ' three'], ['message.summary', undefined]]);
    assert.deepEqual(heard[2].annotations.summary, { 'r:flag.v1': { total: 1, clientIds: ['x'], clipped: false } });
    await rest.publish('m', 'end');
    assert.equal((await got.next()).data, 'end');
  });
});
