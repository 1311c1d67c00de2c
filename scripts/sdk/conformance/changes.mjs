// Messages that change, annotations, and deltas.
import { check, is, ok, refused, within, queue, until } from './env.mjs';

// original publishes a message on a channel whose messages can change; a subscriber has heard it.
async function original(e, options = { clientId: 'alice' }) {
  const [c, s] = [await e.connect(0, options), await e.connect(1)];
  const got = await e.listen(s, 'mutable:' + e.name('m'));
  const channel = c.channels.get(got.channel.name);
  const { serials } = await channel.publish({ name: 'n', data: 'one', extras: { headers: { a: 'b' } } });
  is((await got.next()).serial, serials[0], 'serial');
  return { channel, reader: s, got, serial: serials[0] };
}

// summaries collects those of one channel.
async function summaries(e, name) {
  const got = queue('summary');
  await within((await e.connect(2)).channels.get(name).subscribe((m) => m.action === 'message.summary' && got.push(m)), 'subscribed');
  return got;
}

const edits = [
  check('4.8', 'an update keeps what it does not replace', async (e) => {
    const { channel, got, serial } = await original(e);
    const { versionSerial } = await channel.updateMessage({ serial, data: { two: 2 } }, { description: 'why', metadata: { k: 'v' } });
    const m = await got.next();
    is([m.action, m.serial, m.name, m.data, m.extras], ['message.update', serial, 'n', { two: 2 }, { headers: { a: 'b' } }]);
    is([m.version.serial, m.version.clientId, m.version.description, m.version.metadata], [versionSerial, 'alice', 'why', { k: 'v' }]);
    ok(versionSerial > serial, 'a later version');
  }),
  check('4.8', 'a delete keeps the record', async (e) => {
    const { channel, got, serial } = await original(e);
    await channel.deleteMessage({ serial });
    const m = await got.next();
    is([m.action, m.serial], ['message.delete', serial]);
    is((await e.rest(2).channels.get(channel.name).history()).items.map((x) => x.action), ['message.delete']);
  }),
  check('4.8', 'an append is heard as what it adds, or as a whole', async (e) => {
    const { channel, got, serial } = await original(e);
    const whole = await e.listen(await e.connect(2), channel.name, { params: { appendMode: 'full' } });
    await channel.appendMessage({ serial, data: ' two' });
    const m = await got.next();
    is([m.action, m.data, m.serial], ['message.append', ' two', serial]);
    const full = await whole.next();
    is([full.action, full.data], ['message.update', 'one two']);
  }),
  check('4.8', 'updates over REST, and what there is to read', async (e) => {
    const { channel, got, serial } = await original(e);
    const r = e.rest(1).channels.get(channel.name);
    await r.updateMessage({ serial, data: 'two' });
    is((await got.next()).data, 'two');
    await r.appendMessage({ serial, data: '!' });
    is((await e.rest(2).channels.get(channel.name).getMessage(serial)).data, 'two!');
    is((await e.rest(0).channels.get(channel.name).getMessageVersions(serial)).items.map((m) => m.data), ['one', 'two', 'two!']);
    await refused(r.getMessage(serial + 'x'), 40400);
  }),
  check('4.8', 'history shows the latest version in the first place', async (e) => {
    const { channel, serial } = await original(e);
    await channel.publish('second', 'x');
    await channel.updateMessage({ serial, data: 'two' });
    const page = await e.rest(1).channels.get(channel.name).history({ direction: 'forwards' });
    is(page.items.map((m) => [m.name, m.data, m.action]), [['n', 'two', 'message.update'], ['second', 'x', 'message.create']]);
  }),
  check('4.8', 'only where the namespace allows it', async (e) => {
    const channel = (await e.connect(0, { clientId: 'alice' })).channels.get(e.name('fixed'));
    const { serials } = await channel.publish('a', 'b');
    await refused(channel.updateMessage({ serial: serials[0], data: 'x' }), 93002);
    await refused(channel.deleteMessage({ serial: serials[0] }), 93002);
    await refused(e.rest(1).channels.get(channel.name).appendMessage({ serial: serials[0], data: 'x' }), 93002);
    await refused(channel.annotations.publish(serials[0], { type: 'r:total.v1' }), 93002);
  }),
  check('4.8', 'own messages and any', async (e) => {
    const { channel, serial } = await original(e);
    const as = async (clientId, operation) => {
      const token = await e.jwt(0, { 'x-ably-clientId': clientId, 'x-ably-capability': JSON.stringify({ '*': ['publish', operation] }) });
      return (await e.connect(2, { token })).channels.get(channel.name);
    };
    await (await as('alice', 'message-update-own')).updateMessage({ serial, data: 'x' });
    await (await as('bob', 'message-update-any')).updateMessage({ serial, data: 'y' });
    await refused((await as('bob', 'message-update-own')).updateMessage({ serial, data: 'z' }), 40160);
    await refused((await as('alice', 'message-update-any')).deleteMessage({ serial }), 40160);
    await (await as('alice', 'message-delete-own')).deleteMessage({ serial });
  }),
  check('4.8', 'what changed while a client was away is heard after a resume', async (e) => {
    const { channel, reader, got, serial } = await original(e);
    const gone = reader.connection.once('disconnected');
    e.drop(reader);
    await within(gone, 'disconnected');
    await channel.updateMessage({ serial, data: 'two' });
    await channel.appendMessage({ serial, data: '!' });
    await e.connected(reader);
    is([(await got.next()).data, (await got.next()).data], ['two', '!']);
  }),
];

const annotations = [
  check('4.8', 'an annotation is rolled up into a summary', async (e) => {
    const { channel, serial } = await original(e);
    const sums = await summaries(e, channel.name);
    const total = async (type) => (await sums.next()).annotations.summary[type]?.total ?? 0;
    await channel.annotations.publish(serial, { type: 'likes:flag.v1' });
    is(await total('likes:flag.v1'), 1);
    await channel.annotations.delete(serial, { type: 'likes:flag.v1' });
    is(await total('likes:flag.v1'), 0);
  }),
  check('4.8', 'annotations themselves reach who asks for them', async (e) => {
    const { channel, serial } = await original(e);
    const c = await e.connect(2);
    const events = queue('annotation');
    await within(c.channels.get(channel.name, { modes: ['SUBSCRIBE', 'ANNOTATION_SUBSCRIBE'] }).annotations.subscribe((a) => events.push(a)), 'subscribed');
    await channel.annotations.publish(serial, { type: 'emoji:distinct.v1', name: '👍', data: { deep: [1] } });
    const a = await events.next();
    is([a.action, a.type, a.name, a.clientId, a.messageSerial, a.data], ['annotation.create', 'emoji:distinct.v1', '👍', 'alice', serial, { deep: [1] }]);
  }),
  check('4.8', 'annotations over REST, and a summary in history', async (e) => {
    const { channel, serial } = await original(e);
    const r = e.rest(1, { clientId: 'bob' }).channels.get(channel.name);
    await r.annotations.publish(serial, { type: 'stars:multiple.v1', name: 'five', count: 2 });
    await r.annotations.publish(serial, { type: 'stars:multiple.v1', name: 'five' });
    is((await e.rest(0).channels.get(channel.name).annotations.get(serial)).items.map((a) => [a.name, a.clientId]), [['five', 'bob'], ['five', 'bob']]);
    const [kept] = (await e.rest(2).channels.get(channel.name).history()).items;
    is(kept.annotations.summary['stars:multiple.v1'].five.total, 3);
  }),
  check('4.8', 'an annotation that is none', async (e) => {
    const { channel, serial } = await original(e);
    await refused(channel.annotations.publish(serial, { type: 'r:distinct.v1' }), 40003);
    await refused(channel.annotations.publish('nothing', { type: 'r:total.v1' }), 40400);
  }),
];

const long = 'the same all the time, '.repeat(100);

const deltas = [
  check('4.9', 'deltas of what changes little come out right', async (e) => {
    let decoded = 0;
    const vcdiff = { ...e.vcdiff, decode: (delta, base) => (decoded++, e.vcdiff.decode(delta, base)) };
    const got = await e.listen(await e.connect(0, { plugins: { vcdiff } }), e.name('delta'), { params: { delta: 'vcdiff' } });
    is(got.channel.params, { delta: 'vcdiff' });
    const whole = await e.listen(await e.connect(1), got.channel.name);
    const p = (await e.connect(2)).channels.get(got.channel.name);
    const sent = [...Array.from({ length: 8 }, (_, i) => ({ i, long })), ...Array.from({ length: 3 }, (_, i) => long + i), new TextEncoder().encode(long)];
    for (const data of sent) await p.publish('n', data);
    for (const data of sent) is([(await got.next()).data, (await whole.next()).data], [data, data]);
    ok(decoded >= sent.length - 3, `${decoded} of ${sent.length} came as deltas`);
  }),
  check('4.9', 'a client that lost track of deltas is told again', async (e) => {
    let fail = false;
    const decode = (delta, base) => {
      if (!fail) return e.vcdiff.decode(delta, base);
      fail = false;
      throw new Error('lost');
    };
    const got = await e.listen(await e.connect(0, { plugins: { vcdiff: { ...e.vcdiff, decode } } }), e.name('lost'), { params: { delta: 'vcdiff' } });
    const p = (await e.connect(1)).channels.get(got.channel.name);
    for (let i = 0; i < 6; i++) {
      await p.publish('n', { i, long });
      if (i === 2) await until(() => got.size === 3, 'three were heard');
      fail ||= i === 2;
    }
    for (let i = 0; i < 6; i++) is((await got.next()).data.i, i);
    is(fail, false, 'one delta was not taken, or none came');
  }),
  check('4.9', 'deltas and occupancy events on one channel: every message is heard', async (e) => {
    let decoded = 0;
    const vcdiff = { ...e.vcdiff, decode: (delta, base) => (decoded++, e.vcdiff.decode(delta, base)) };
    const counts = queue('occupancy event');
    const c = await e.connect(0, { plugins: { vcdiff } });
    const options = { modes: ['SUBSCRIBE'], params: { delta: 'vcdiff', occupancy: 'metrics.publishers' } };
    const got = await e.listen(c, e.name('counted'), options, 'n');
    await got.channel.subscribe('[meta]occupancy', (m) => counts.push(m.data.metrics.publishers));
    const p = (await e.connect(1)).channels.get(got.channel.name);
    const other = (await e.connect(2)).channels.get(got.channel.name, { modes: ['PUBLISH'] });
    for (let i = 0; i < 8; i++) {
      await p.publish('n', { i, long });
      is((await got.next()).data, { i, long });
      if (i % 2 === 0) continue; // the next is a delta
      await within(i % 4 === 1 ? other.attach() : other.detach(), 'attached or detached');
      await counts.until((n) => n === (i % 4 === 1 ? 1 : 0));
    }
    ok(decoded >= 4, `${decoded} came as deltas`);
    is(got.size, 0);
  }),
];

export const changes = [...edits, ...annotations, ...deltas];
