// Presence: members, their events, and what becomes of them when a connection breaks.
import { KEY, check, is, ok, refused, within, queue, until } from './env.mjs';

// watch collects the presence events of a channel.
async function watch(c, name) {
  const events = queue('presence event');
  await within(c.channels.get(name).presence.subscribe((m) => events.push(m)), 'subscribed');
  return events;
}

const ids = (list) => list.map((m) => m.clientId).sort();
const bytes = Uint8Array.from([0, 1, 254, 255]);

export const presence = [
  check('5.1', 'enter, update, leave', async (e) => {
    const [c, w] = [await e.connect(0, { clientId: 'alice' }), await e.connect(1)];
    const name = e.name('room');
    const events = await watch(w, name);
    const p = c.channels.get(name).presence;
    await p.enter('hello');
    await p.update({ n: 1 });
    await p.leave(bytes);
    for (const [action, data] of [['enter', 'hello'], ['update', { n: 1 }], ['leave', bytes]]) {
      const m = await events.next();
      is([m.action, m.clientId, m.connectionId, m.data], [action, 'alice', c.connection.id, data]);
    }
    is(await w.channels.get(name).presence.get(), []);
  }),
  check('5.1', 'several clients on one connection', async (e) => {
    const [c, w] = [await e.connect(0), await e.connect(1)];
    const name = e.name('many');
    const events = await watch(w, name);
    const p = c.channels.get(name).presence;
    await p.enterClient('a', 1 + '');
    await p.enterClient('b');
    await p.updateClient('a', 2 + '');
    await p.leaveClient('b');
    for (const want of [['enter', 'a'], ['enter', 'b'], ['update', 'a'], ['leave', 'b']]) {
      const m = await events.next();
      is([m.action, m.clientId], want);
    }
    is((await p.get()).map((m) => [m.clientId, m.data]), [['a', '2']]);
  }),
  check('5.1', 'who may be present as whom', async (e) => {
    const alice = await e.connect(0, { clientId: 'alice' });
    await refused(alice.channels.get(e.name('who')).presence.enterClient('bob'), 40012);
    const reader = await e.connect(1, { key: e.key(KEY.subscribe) });
    await refused(reader.channels.get(e.name('none')).presence.enterClient('x'), 40160);
    const modes = alice.channels.get(e.name('modes'), { modes: ['SUBSCRIBE', 'PRESENCE_SUBSCRIBE'] });
    await within(modes.attach(), 'attached');
    await refused(modes.presence.enter(), 40160, 40165);
  }),
  check('5.2', 'two connections of one client are two members', async (e) => {
    const [a, b, w] = [await e.connect(0, { clientId: 'x' }), await e.connect(1, { clientId: 'x' }), await e.connect(2)];
    const name = e.name('twice');
    await a.channels.get(name).presence.enter('a');
    await b.channels.get(name).presence.enter('b');
    const members = await w.channels.get(name).presence.get();
    is(members.map((m) => m.data).sort(), ['a', 'b']);
    is((await w.channels.get(name).presence.get({ connectionId: a.connection.id })).map((m) => m.data), ['a']);
    await a.channels.get(name).presence.leave();
    await until(async () => (await w.channels.get(name).presence.get()).length === 1, 'one is left');
  }),
  check('5.3', 'who comes late is told of all members', async (e) => {
    const c = await e.connect(0);
    const name = e.name('full');
    const want = Array.from({ length: 150 }, (_, i) => 'member' + String(i).padStart(3, '0'));
    await within(Promise.all(want.map((id) => c.channels.get(name).presence.enterClient(id, { id }))), 'entered');
    for (const node of [0, 1, 2]) {
      const members = await within((await e.connect(node)).channels.get(name).presence.get(), 'members');
      is(ids(members), want);
      ok(members.every((m) => m.data.id === m.clientId && m.action === 'present'), 'with their data');
    }
  }),
  check('5.3', 'nobody is there', async (e) => {
    const ch = (await e.connect(0)).channels.get(e.name('empty'));
    is(await within(ch.presence.get(), 'members'), []);
  }),
  check('5.4', 'a connection that is closed takes its members along', async (e) => {
    const [c, w] = [await e.connect(0), await e.connect(1)];
    const name = e.name('close');
    const events = await watch(w, name);
    for (const id of ['a', 'b']) await c.channels.get(name).presence.enterClient(id);
    await events.next(), await events.next();
    await e.closed(c);
    is([await events.next(), await events.next()].map((m) => [m.action, m.clientId]).sort(), [['leave', 'a'], ['leave', 'b']]);
  }),
  check('5.4', 'detaching leaves', async (e) => {
    const [c, w] = [await e.connect(0, { clientId: 'a' }), await e.connect(1)];
    const name = e.name('detach');
    const events = await watch(w, name);
    await c.channels.get(name).presence.enter();
    is((await events.next()).action, 'enter');
    await within(c.channels.get(name).detach(), 'detached');
    is((await events.next()).action, 'leave');
  }),
  check('5.4', 'a connection that is cut and resumes was never away', async (e) => {
    const [c, w] = [await e.connect(0, { clientId: 'a' }), await e.connect(1)];
    const name = e.name('cut');
    const events = await watch(w, name);
    await c.channels.get(name).presence.enter('x');
    is((await events.next()).action, 'enter');
    const gone = c.connection.once('disconnected');
    e.drop(c);
    await within(gone, 'disconnected');
    await e.connected(c);
    await c.channels.get(name).presence.update('y');
    for (;;) { // whoever comes back enters once more, which members hear as an update or an enter
      const m = await events.next();
      ok(m.action !== 'leave', 'it never left');
      if (m.data === 'y') break;
    }
  }),
  check('5.5', 'data of members in the other format', async (e) => {
    const [c, s] = [await e.connect(0), await e.connect(1, { useBinaryProtocol: e.format !== 'msgpack' })];
    const name = e.name('data');
    const values = { text: 'émoji 🛎', empty: '', bytes, object: { a: [1, null] } };
    for (const [id, data] of Object.entries(values)) await c.channels.get(name).presence.enterClient(id, data);
    const members = await s.channels.get(name).presence.get();
    for (const m of members) is(m.data, values[m.clientId], m.clientId);
    is(members.length, 4);
  }),
  check('7.3', 'presence and its history over REST', async (e) => {
    const c = await e.connect(0);
    const name = e.name('rest');
    const p = c.channels.get(name).presence;
    await p.enterClient('a', 'x');
    await p.enterClient('b', { n: 1 });
    const r = e.rest(1).channels.get(name).presence;
    is((await r.get()).items.map((m) => [m.clientId, m.data, m.action]).sort(), [['a', 'x', 'present'], ['b', { n: 1 }, 'present']]);
    is(ids((await r.get({ clientId: 'b' })).items), ['b']);
    await p.leaveClient('a');
    is((await e.rest(2).channels.get(name).presence.history({ direction: 'forwards' })).items.map((m) => [m.clientId, m.action]), [['a', 'enter'], ['b', 'enter'], ['a', 'leave']]);
  }),
  check('7.3', 'one member is asked for with a token of another, and with one of nobody', async (e) => {
    const c = await e.connect(0);
    const name = e.name('one');
    for (const id of ['alice', 'bob']) await c.channels.get(name).presence.enterClient(id);
    for (const claims of [{ 'x-ably-clientId': 'alice' }, {}]) {
      const r = e.rest(1, { token: await e.jwt(KEY.all, claims) });
      is(ids((await r.channels.get(name).presence.get({ clientId: 'bob' })).items), ['bob']);
    }
  }),
  check('7.4', 'pages of presence keep a clientId with spaces', async (e) => {
    const name = e.name('spaces');
    for (const node of [0, 1]) await (await e.connect(node)).channels.get(name).presence.enterClient('John + Smith');
    const page = await e.rest(2).channels.get(name).presence.get({ clientId: 'John + Smith', limit: 1 });
    const [first, next] = [await page.first(), await page.next()];
    is([page, first, next].map((p) => ids(p.items)), Array(3).fill(['John + Smith']));
    ok(next.isLast() && page.items[0].connectionId !== next.items[0].connectionId, 'two members on two pages');
  }),
  check('7.8', 'batchPresence()', async (e) => {
    const c = await e.connect(0);
    const [one, none] = [e.name('one'), e.name('none')];
    await c.channels.get(one).presence.enterClient('a');
    const r = await e.rest(1).batchPresence([one, none]);
    is(r.results.map((x) => [x.channel, ids(x.presence)]), [[one, ['a']], [none, []]]);
  }),
];
