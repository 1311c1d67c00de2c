// What the official SDK is promised, by the sections of the protocol. Each check runs in Node and in Chromium, in JSON and
// in msgpack, on one node and on three with its clients spread over them.
import { KEY, check, is, ok, refused, within, queue, until, sleep } from './env.mjs';
import { changes } from './changes.mjs';
import { metachannels } from './meta.mjs';
import { presence } from './presence.mjs';

const bytes = Uint8Array.from([0, 1, 254, 255]);

const connections = [
  check('1.3', 'a connection has id and key', async (e) => {
    const c = await e.connect(0);
    ok(c.connection.id && c.connection.key, 'id and key');
    ok(!c.connection.id.includes(':'), 'no colon');
    is(c.connection.errorReason, null);
  }),
  check('1.5', 'ping', async (e) => {
    const c = await e.connect(0);
    ok((await within(c.connection.ping(), 'pong')) >= 0, 'a duration');
  }),
  check('1.6', 'a connection that is cut resumes under its id', async (e) => {
    const c = await e.connect(0);
    const id = c.connection.id;
    for (let i = 0; i < 3; i++) {
      const gone = c.connection.once('disconnected');
      e.drop(c);
      await within(gone, 'disconnected');
      await e.connected(c);
      is(c.connection.id, id, 'id');
      is(c.connection.errorReason, null, 'errorReason');
    }
  }),
  check('1.6', 'recover at another node under the old id', async (e) => {
    const c = await e.connect(0);
    await c.channels.get(e.name('recover')).attach();
    const recover = c.connection.createRecoveryKey();
    const id = c.connection.id;
    e.drop(c);
    const again = await e.connect(1, { recover });
    is(again.connection.id, id, 'id');
  }),
  check('1.6', 'a key that is none is told by its code', async (e) => {
    const c = await e.connect(0, { recover: JSON.stringify({ connectionKey: '_____!ablyjs_test_fake-key____', msgSerial: 3, channelSerials: {} }) });
    is(c.connection.errorReason?.code, 80018, 'code');
    const name = e.name('fresh');
    await within(c.channels.get(name).publish('a', 'b'), 'published');
  }),
  check('1.6', 'what was published meanwhile is heard after a resume, once and in order', async (e) => {
    const [c, p] = [await e.connect(0), await e.connect(1)];
    const got = await e.listen(c, e.name('missed'));
    const gone = c.connection.once('disconnected');
    e.drop(c);
    await within(gone, 'disconnected');
    const publishing = [];
    for (let i = 0; i < 10; i++) publishing.push(p.channels.get(got.channel.name).publish('m', i + ''));
    await Promise.all(publishing);
    await e.connected(c);
    for (let i = 0; i < 10; i++) is((await got.next()).data, i + '');
    await p.channels.get(got.channel.name).publish('m', 'last');
    is((await got.next()).data, 'last');
  }),
  check('1.6', 'publishes over a cut connection are neither lost nor doubled', async (e) => {
    const [c, s] = [await e.connect(0), await e.connect(1)];
    const got = await e.listen(s, e.name('again'));
    const ch = c.channels.get(got.channel.name);
    const results = [];
    for (let i = 0; i < 40; i++) {
      results.push(ch.publish('m', i + ''));
      if (i % 15 === 7) e.drop(c);
      await sleep(2); // a publisher at its own pace
    }
    await within(Promise.all(results), 'all acknowledged');
    for (let i = 0; i < 40; i++) is((await got.next()).data, i + '');
    is(got.size, 0);
  }),
  check('1.7', 'close', async (e) => {
    const c = await e.connect(0);
    await e.closed(c);
    is(c.connection.state, 'closed');
  }),
  check('1.7', 'close, then connect anew', async (e) => {
    const c = await e.connect(0);
    const id = c.connection.id;
    await e.closed(c);
    c.connect();
    await e.connected(c);
    ok(c.connection.id !== id, 'another id');
  }),
  check('1.1', 'echoMessages: false', async (e) => {
    const [quiet, other] = [await e.connect(0, { echoMessages: false }), await e.connect(1)];
    const got = await e.listen(quiet, e.name('echo'));
    await got.channel.publish('own', 'x');
    await other.channels.get(got.channel.name).publish('other', 'x');
    is((await got.next()).name, 'other');
  }),
  check('1.1', 'transportParams reach the server', async (e) => {
    const c = await e.connect(0, { transportParams: { heartbeatInterval: 6000, remainPresentFor: 1000, custom: 'x' } });
    is(c.connection.connectionManager.connectionDetails.maxIdleInterval, 6000, 'maxIdleInterval');
  }),
  check('1.4', 'clientId of options and of a token', async (e) => {
    is((await e.connect(0, { clientId: 'alice' })).auth.clientId, 'alice');
    is((await e.connect(1, { token: await e.jwt(KEY.all, { 'x-ably-clientId': 'bob' }) })).auth.clientId, 'bob');
    is((await e.connect(2, { token: await e.jwt(KEY.all, { 'x-ably-clientId': '*' }), clientId: 'carol' })).auth.clientId, 'carol');
  }),
  check('1.4', 'a clientId that the token does not allow', async (e) => {
    is((await e.failure(0, { token: await e.jwt(KEY.all, { 'x-ably-clientId': 'alice' }), clientId: 'bob' })).code, 40102);
    is((await e.failure(1, { token: await e.jwt(KEY.all), clientId: 'bob' })).code, 40102);
  }),
  check('1.7', 'wrong credentials fail the connection', async (e) => {
    const wrong = await e.failure(0, { key: 'this.is:wrong' });
    is([wrong.code, wrong.statusCode], [40101, 401]);
    is((await e.failure(1, { key: e.app.keys[0].keyName + ':wrong' })).code, 40101);
  }),
];

const channels = [
  check('3.2', 'attach tells the default modes', async (e) => {
    const ch = (await e.connect(0)).channels.get(e.name('plain'));
    const change = await within(ch.attach(), 'attached');
    is(change.resumed, false, 'resumed');
    is([...ch.modes].sort(), ['annotation_publish', 'presence', 'presence_subscribe', 'publish', 'subscribe']);
    is(ch.params, {});
  }),
  check('3.3', 'modes that are asked for', async (e) => {
    const c = await e.connect(0);
    for (const modes of [['SUBSCRIBE'], ['PUBLISH', 'PRESENCE'], ['PRESENCE_SUBSCRIBE', 'SUBSCRIBE']]) {
      const ch = c.channels.get(e.name('modes'), { modes });
      await within(ch.attach(), 'attached');
      is([...ch.modes].sort(), modes.map((x) => x.toLowerCase()).sort());
    }
  }),
  check('3.3', 'modes that the capability has not are left out', async (e) => {
    const ch = (await e.connect(0, { key: e.key(KEY.subscribe) })).channels.get(e.name('less'));
    await within(ch.attach(), 'attached');
    is([...ch.modes].sort(), ['presence_subscribe', 'subscribe']);
    await refused(ch.publish('a', 'b'), 40160);
  }),
  check('3.3', 'publish without the mode', async (e) => {
    const ch = (await e.connect(0)).channels.get(e.name('mode'), { modes: ['SUBSCRIBE'] });
    await within(ch.attach(), 'attached');
    await refused(ch.publish('a', 'b'), 40160, 40165);
  }),
  check('3.4', 'known params are told back, unknown ones are not', async (e) => {
    const ch = (await e.connect(0)).channels.get(e.name('params'), { params: { modes: 'subscribe', rewind: '1', nonsense: 'x' } });
    await within(ch.attach(), 'attached');
    is(ch.params, { modes: 'subscribe', rewind: '1' });
    is(ch.modes, ['subscribe']);
  }),
  check('3.4', 'setOptions on an attached channel', async (e) => {
    const [c, p] = [await e.connect(0), await e.connect(1)];
    const got = await e.listen(c, e.name('options'), { modes: ['SUBSCRIBE'] });
    await within(got.channel.setOptions({ modes: ['PUBLISH'] }), 'set');
    is(got.channel.modes, ['publish']);
    await p.channels.get(got.channel.name).publish('unheard', 'x');
    await within(got.channel.setOptions({ modes: ['PUBLISH', 'SUBSCRIBE'] }), 'set');
    await p.channels.get(got.channel.name).publish('heard', 'x');
    is((await got.next()).name, 'heard');
  }),
  check('3.4', 'rewind', async (e) => {
    const [p, c] = [await e.connect(0), await e.connect(1)];
    const name = e.name('rewind');
    for (let i = 0; i < 5; i++) await p.channels.get(name).publish('m', i + '');
    const got = await e.listen(c, name, { params: { rewind: '3' } });
    for (let i = 2; i < 5; i++) is((await got.next()).data, i + '');
  }),
  check('3.4', 'rewind in a qualifier', async (e) => {
    const [p, c] = [await e.connect(0), await e.connect(1)];
    const name = e.name('rewind');
    await p.channels.get(name).publish('m', 'x');
    const got = await e.listen(c, '[?rewind=1]' + name);
    is((await got.next()).data, 'x');
  }),
  check('3.5', 'a derived view and the channel side by side', async (e) => {
    const c = await e.connect(0);
    const name = e.name('both');
    const [a, b] = [await e.listen(c, name), await e.listen(c, '[?rewind=1]' + name)];
    await c.channels.get(name).publish('m', 'x');
    is([(await a.next()).data, (await b.next()).data], ['x', 'x']);
  }),
  check('3.5', 'a name that is none', async (e) => {
    const c = await e.connect(0);
    await refused(c.channels.get(':hell').attach(), 40010);
    is(c.channels.get(':hell').state, 'failed');
    is(c.connection.state, 'connected');
  }),
  check('3.5', 'names with anything in them', async (e) => {
    const [c, rest] = [await e.connect(0), e.rest(1)];
    for (const odd of ['a/b', 'a?b&c', '*', '😀 ä', 'a,b;c', 'a%2Fb', 'x//..//y']) {
      const got = await e.listen(c, odd + e.name(''));
      await rest.channels.get(got.channel.name).publish('m', odd);
      is((await got.next()).data, odd);
    }
  }),
  check('3.7', 'detach, and attach again', async (e) => {
    const [c, p] = [await e.connect(0), await e.connect(1)];
    const got = await e.listen(c, e.name('detach'));
    await within(got.channel.detach(), 'detached');
    is(got.channel.state, 'detached');
    await p.channels.get(got.channel.name).publish('unheard', 'x');
    await within(got.channel.attach(), 'attached');
    await p.channels.get(got.channel.name).publish('heard', 'x');
    is((await got.next()).name, 'heard');
  }),
  check('3.5', 'many channels on one connection, and not one too many', async (e) => {
    const c = await e.connect(0);
    const base = e.name('many');
    await within(Promise.all(Array.from({ length: 200 }, (_, i) => c.channels.get(base + i).attach())), 'all attached', 20000);
    await refused(c.channels.get(base + 'more').attach(), 90010);
  }),
];

const messages = [
  check('4.1', 'publish returns serials', async (e) => {
    const c = await e.connect(0);
    const got = await e.listen(c, e.name('serials'));
    const one = await got.channel.publish('a', 'b');
    is((await got.next()).serial, one.serials[0]);
    const three = await got.channel.publish([{ name: 'a' }, { name: 'b' }, { name: 'c' }]);
    for (const serial of three.serials) is((await got.next()).serial, serial);
  }),
  check('4.1', 'publishing without an attachment', async (e) => {
    const [c, s] = [await e.connect(0), await e.connect(1)];
    const got = await e.listen(s, e.name('transient'));
    await c.channels.get(got.channel.name).publish('a', 'b');
    is((await got.next()).name, 'a');
    is(c.channels.get(got.channel.name).state, 'initialized');
  }),
  check('4.2', 'what a message has', async (e) => {
    const [c, s] = [await e.connect(0, { clientId: 'alice' }), await e.connect(1)];
    const got = await e.listen(s, e.name('message'));
    const before = Date.now();
    await c.channels.get(got.channel.name).publish({ name: 'n', data: 'd', extras: { headers: { a: 1, b: 'x' } } });
    const m = await got.next();
    is([m.name, m.data, m.clientId, m.connectionId, m.action, m.extras], ['n', 'd', 'alice', c.connection.id, 'message.create', { headers: { a: 1, b: 'x' } }]);
    ok(Math.abs(m.timestamp - before) < 5000 && m.serial && m.id.startsWith(c.connection.id), 'timestamp, serial, id');
    is(m.version.serial, m.serial, 'version');
  }),
  check('4.4', 'order', async (e) => {
    const [p, s] = [await e.connect(0), await e.connect(1)];
    const got = await e.listen(s, e.name('order'));
    const ch = p.channels.get(got.channel.name);
    await Promise.all(Array.from({ length: 100 }, (_, i) => ch.publish('m', i + '')));
    for (let i = 0; i < 100; i++) is((await got.next()).data, i + '');
  }),
  check('4.3', 'an id of one\'s own counts once', async (e) => {
    const c = await e.connect(0);
    const got = await e.listen(c, e.name('own'));
    const m = { id: 'order-1', name: 'm', data: 'x' };
    const [first, again] = [await got.channel.publish(m), await e.rest(1).channels.get(got.channel.name).publish(m)];
    is(again.serials, first.serials);
    await got.channel.publish('last', 'x');
    is([(await got.next()).id, (await got.next()).name], ['order-1', 'last']);
  }),
  check('4.3', 'ids of several messages have to count up', async (e) => {
    await refused(e.rest(0).channels.get(e.name('ids')).publish([{ id: 'a:0' }, { id: 'b:1' }]), 40031);
  }),
  check('4.5', 'data of every kind to the other format', async (e) => {
    const [p, s] = [await e.connect(0), await e.connect(1, { useBinaryProtocol: e.format !== 'msgpack' })];
    const got = await e.listen(s, e.name('data'));
    const values = ['text', '', 'émoji 🛎', bytes, new Uint8Array(0), { a: [1, { b: null }] }, [1, 'two'], undefined];
    for (const data of values) await p.channels.get(got.channel.name).publish('m', data);
    for (const data of values) is((await got.next()).data, data);
  }),
  check('4.5', 'data of every kind in history of both formats', async (e) => {
    const values = ['text', '', bytes, { a: [1, { b: null }] }, [1, 'two'], null];
    const name = e.name('data');
    for (const data of values) await e.rest(0).channels.get(name).publish('m', data);
    for (const useBinaryProtocol of [false, true]) {
      const page = await e.rest(1, { useBinaryProtocol }).channels.get(name).history({ direction: 'forwards' });
      is(page.items.map((m) => m.data ?? null), values);
    }
  }),
  check('4.5', 'an encrypted channel', async (e) => {
    const key = await e.Ably.Realtime.Crypto.generateRandomKey();
    const [p, s, plain] = [await e.connect(0), await e.connect(1, { useBinaryProtocol: e.format !== 'msgpack' }), await e.connect(2)];
    const name = e.name('secret');
    const [got, raw] = [await e.listen(s, name, { cipher: { key } }), await e.listen(plain, name)];
    for (const data of ['text', bytes, { a: 1 }]) {
      await p.channels.get(name, { cipher: { key } }).publish('m', data);
      is((await got.next()).data, data);
      ok((await raw.next()).encoding.includes('cipher+aes-256-cbc'), 'not readable without the key');
    }
    const page = await e.rest(1).channels.get(name, { cipher: { key } }).history({ direction: 'forwards' });
    is(page.items[0].data, 'text');
  }),
  check('4.6', 'clientId of messages', async (e) => {
    const c = await e.connect(0, { clientId: 'alice' });
    await refused(c.channels.get(e.name('who')).publish({ name: 'a', clientId: 'bob' }), 40012);
    const any = await e.connect(1);
    const got = await e.listen(any, e.name('any'));
    await got.channel.publish({ name: 'a', clientId: 'bob' });
    is((await got.next()).clientId, 'bob');
  }),
  check('4.7', 'a message too large', async (e) => {
    const c = await e.connect(0);
    await refused(c.channels.get(e.name('large')).publish('a', 'x'.repeat(70000)), 40009);
    await refused(e.rest(1).channels.get(e.name('large')).publish('a', 'x'.repeat(70000)), 40009);
    is(c.connection.state, 'connected');
  }),
];

const occupancy = [
  check('6.3', 'occupancy events', async (e) => {
    const [w, other] = [await e.connect(0), await e.connect(1)];
    const got = await e.listen(w, e.name('watched'), { params: { occupancy: 'metrics' } }, '[meta]occupancy');
    const seed = (await got.next()).data.metrics;
    is([seed.connections, seed.subscribers, seed.presenceMembers, seed.objectPublishers], [1, 1, 0, 0]);
    await other.channels.get(got.channel.name).attach();
    await got.until((m) => m.data.metrics.connections === 2);
    await e.closed(other);
    await got.until((m) => m.data.metrics.connections === 1);
  }),
  check('6.2', 'one category, told at once when it leaves zero', async (e) => {
    const [w, p] = [await e.connect(0), await e.connect(1)];
    const got = await e.listen(w, e.name('zero'), { modes: ['SUBSCRIBE'], params: { occupancy: 'metrics.publishers' } });
    is((await got.next()).data, { metrics: { publishers: 0 } });
    await p.channels.get(got.channel.name, { modes: ['PUBLISH'] }).attach();
    is((await got.next()).data, { metrics: { publishers: 1 } });
    await p.channels.get(got.channel.name).detach();
    is((await got.next()).data, { metrics: { publishers: 0 } });
  }),
  check('6.5', 'channel.status()', async (e) => {
    const c = await e.connect(0);
    const name = e.name('status');
    await c.channels.get(name).attach();
    const d = await e.rest(1).channels.get(name).status();
    is([d.channelId, d.status.isActive, d.status.occupancy.metrics.connections], [name, true, 1]);
    for (const k of ['connections', 'publishers', 'subscribers', 'presenceConnections', 'presenceMembers', 'presenceSubscribers'])
      is(typeof d.status.occupancy.metrics[k], 'number', k);
  }),
];

const rest = [
  check('7.1', 'time()', async (e) => {
    ok(Math.abs((await e.rest(0).time()) - Date.now()) < 5000, 'about now');
  }),
  check('7.3', 'publish over REST in all forms', async (e) => {
    const got = await e.listen(await e.connect(0), e.name('rest'));
    const ch = e.rest(1).channels.get(got.channel.name);
    await ch.publish('a', { n: 1 });
    await ch.publish({ name: 'b', data: bytes });
    await ch.publish([{ name: 'c' }, { name: 'd' }]);
    const all = [await got.next(), await got.next(), await got.next(), await got.next()];
    is(all.map((m) => m.name), ['a', 'b', 'c', 'd']);
    is([all[0].data, all[1].data], [{ n: 1 }, bytes]);
  }),
  check('7.4', 'history in pages', async (e) => {
    const c = await e.connect(0);
    const name = e.name('pages');
    for (let i = 0; i < 9; i++) await c.channels.get(name).publish('m', i + '');
    for (const direction of ['forwards', 'backwards']) {
      const seen = [];
      let page = await e.rest(1).channels.get(name).history({ limit: 4, direction });
      const first = page.items.map((m) => m.id);
      for (;;) {
        seen.push(...page.items.map((m) => Number(m.data)));
        ok(page.hasNext() === !page.isLast(), 'hasNext is not isLast');
        if (!page.hasNext()) break;
        page = await page.next();
      }
      is(seen, direction === 'forwards' ? [0, 1, 2, 3, 4, 5, 6, 7, 8] : [8, 7, 6, 5, 4, 3, 2, 1, 0]);
      is((await page.first()).items.map((m) => m.id), first);
    }
  }),
  check('7.3', 'history until the attach', async (e) => {
    const c = await e.connect(0);
    const ch = c.channels.get(e.name('until'));
    await ch.publish('m', 'before');
    await ch.attach();
    await ch.publish('m', 'behind');
    is((await ch.history({ untilAttach: true })).items.map((m) => m.data), ['before']);
  }),
  check('7.6', 'enumeration through request()', async (e) => {
    const c = await e.connect(0);
    const base = e.name('listed');
    for (let i = 0; i < 5; i++) await c.channels.get(base + i).attach();
    const seen = [];
    let page = await e.rest(1).request('get', '/channels', 3, { limit: 2, prefix: base });
    for (;;) {
      is(page.statusCode, 200);
      seen.push(...page.items);
      if (!page.hasNext()) break;
      page = await page.next();
    }
    is(seen.sort(), [0, 1, 2, 3, 4].map((i) => base + i));
  }),
  check('7.4', 'pages of an enumeration keep a prefix with spaces', async (e) => {
    const c = await e.connect(0);
    const base = e.name('my list') + ' + ';
    for (const i of [0, 1]) await c.channels.get(base + i).attach();
    const page = await e.rest(1).request('get', '/channels', 3, { limit: 1, prefix: base });
    const [first, next] = [await page.first(), await page.next()];
    is(first.items, page.items);
    is([...page.items, ...next.items].sort(), [base + 0, base + 1]);
  }),
  check('7.2', 'errors of request() have code and message', async (e) => {
    const r = await e.rest(0).request('get', '/keys/ablyjs.test/requestToken', 3);
    is([r.success, r.statusCode, r.errorCode], [false, 404, 40400]);
    ok(r.errorMessage, 'a message');
  }),
  check('7.9', 'stats() of a time without activity', async (e) => {
    const page = await e.rest(0).stats({ start: '2026-01-02:15:03', end: '2026-01-02:15:05', unit: 'minute' });
    is(page.items, []);
  }),
];

const authentication = [
  check('9.3', 'requestToken()', async (e) => {
    const d = await e.rest(0).auth.requestToken({ ttl: 60000, clientId: 'bob', capability: { x: ['subscribe', 'publish'] } });
    is([d.expires - d.issued, d.clientId, d.capability], [60000, 'bob', '{"x":["publish","subscribe"]}']);
    is((await e.connect(1, { tokenDetails: d })).auth.clientId, 'bob');
  }),
  check('9.2', 'createTokenRequest() elsewhere', async (e) => {
    const c = await e.connect(1, { authCallback: (params, done) => e.rest(0).auth.createTokenRequest({ ...params, clientId: 'alice' }).then((r) => done(null, r), done) });
    is(c.auth.clientId, 'alice');
  }),
  check('9.2', 'queryTime', async (e) => {
    const r = await e.rest(0, { queryTime: true }).auth.createTokenRequest();
    ok(Math.abs(r.timestamp - Date.now()) < 10000, 'the server\'s time');
  }),
  check('9.4', 'a JWT', async (e) => {
    const c = await e.connect(0, { token: await e.jwt(KEY.all, { 'x-ably-clientId': 'carol', 'x-ably-capability': '{"open:*":["*"]}' }) });
    is(c.auth.clientId, 'carol');
    await c.channels.get('open:' + e.name('')).attach();
    await refused(c.channels.get(e.name('closed')).attach(), 40160);
  }),
  check('9.4', 'what a JWT claims of its user goes with messages and presence', async (e) => {
    const name = e.name('room');
    const [host, s] = [await e.connect(0, { token: await e.jwt(KEY.all, { 'x-ably-clientId': 'u', ['ably.channel.' + name]: 'host', 'ably.channel.*': 'guest' }) }), await e.connect(1)];
    const got = await e.listen(s, name);
    const events = queue('presence event');
    await within(got.channel.presence.subscribe((m) => events.push(m)), 'subscribed');
    await host.channels.get(name).publish({ name: 'n', data: 'd', extras: { userClaim: 'admin', headers: { a: 1 } } });
    is((await got.next()).extras, { headers: { a: 1 }, userClaim: 'host' });
    await host.channels.get(name).presence.enter();
    is((await events.next()).extras, { userClaim: 'host' });
    await s.channels.get(name).publish({ name: 'n', extras: { userClaim: 'admin' } });
    is((await got.next()).extras, undefined);
  }),
  check('9.5', 'capability of a key on REST', async (e) => {
    const name = e.name('denied');
    await refused(e.rest(0, { key: e.key(KEY.subscribe) }).channels.get(name).publish('a', 'b'), 40160);
    await refused(e.rest(0, { key: e.key(KEY.publish) }).channels.get(name).history(), 40160);
    await e.rest(1, { key: e.key(KEY.publish) }).channels.get(name).publish('a', 'b');
  }),
  check('1.8', 'authorize() on a live connection', async (e) => {
    let capability = '{"*":["*"]}';
    const c = await e.connect(0, { authCallback: (_, done) => e.jwt(KEY.all, { 'x-ably-capability': capability }).then((t) => done(null, t), done) });
    const id = c.connection.id;
    const [keep, lose] = [c.channels.get(e.name('keep')), c.channels.get(e.name('lose'))];
    await Promise.all([keep.attach(), lose.attach()]);
    capability = JSON.stringify({ [keep.name]: ['*'] });
    const failed = lose.once('failed');
    await within(c.auth.authorize(), 'authorized');
    is((await within(failed, 'channel failed')).reason.code, 40160);
    is([keep.state, c.connection.id], ['attached', id]);
  }),
  check('1.8', 'a token that expires is renewed and the connection resumed', async (e) => {
    let asked = 0;
    const c = await e.connect(0, { authCallback: (_, done) => (asked++, e.rest(1).auth.requestToken({ ttl: asked === 1 ? 1500 : 3600000 }).then((d) => done(null, d), done)) });
    const id = c.connection.id;
    const change = await within(c.connection.once('disconnected'), 'disconnected');
    is([change.reason.code, change.reason.statusCode], [40142, 401]);
    await e.connected(c);
    is([asked, c.connection.id], [2, id]);
  }),
  check('9.6', 'revokeTokens()', async (e) => {
    const who = e.name('revoked');
    const clients = await Promise.all([0, 1, 2].map((i) => e.rest(i, { key: e.key(KEY.revocable) }).auth.requestToken({ clientId: who }).then((token) => e.connect(i, { tokenDetails: token }))));
    await sleep(5); // tokens count as older from the next millisecond on
    const ends = clients.map((c) => within(c.connection.once('failed'), 'failed')); // nobody renews them
    const r = await e.rest(1, { key: e.key(KEY.revocable) }).auth.revokeTokens([{ type: 'clientId', value: who }, { type: 'nonsense', value: 'x' }]);
    is([r.successCount, r.failureCount, r.results[0].target], [1, 1, 'clientId:' + who]);
    for (const end of ends) is((await end).reason.code, 40171);
  }),
];

export const checks = [...connections, ...channels, ...messages, ...changes, ...presence, ...occupancy, ...rest, ...metachannels, ...authentication];
