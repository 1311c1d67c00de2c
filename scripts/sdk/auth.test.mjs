// Who may do what, seen by ably-js: tokens in all their forms, on three nodes, in both encodings.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { start, queue, within } from './server.mjs';

let cluster;
let app; // provisioned on node 0, used everywhere
before(async () => {
  cluster = await start({ nodes: 3 });
  app = await provision(0);
});
after(async () => assert.equal(await cluster?.stop(), 0, 'innkeeper dev stops cleanly on SIGTERM'));

const setup = {
  keys: [{}, { capability: '{"open:*":["*"],"read:*":["subscribe"],"write:*":["publish"]}' }, { revocableTokens: true }, { capability: '{"[*]*":["*"]}' }],
  namespaces: [{ id: 'persisted', persisted: true }],
  channels: [],
};
const [ROOT, LIMITED, REVOCABLE] = [0, 1, 2];

async function provision(node) {
  const r = await fetch(cluster.url(node) + '/apps', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(setup),
  });
  assert.equal(r.status, 201);
  return r.json();
}

const name = (base) => `${base}:${Math.random().toString(36).slice(2)}`;
const keyStr = (i) => app.keys[i].keyStr;

// jwt signs a JWT the way an application's server does.
function jwt(key, claims = {}, header = {}, secret = key.keySecret) {
  const b64 = (v) => Buffer.from(JSON.stringify(v)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  const text = b64({ typ: 'JWT', alg: 'HS256', kid: key.keyName, ...header }) + '.' + b64({ iat: now, exp: now + 3600, ...claims });
  return text + '.' + createHmac('sha256', secret).update(text).digest('base64url');
}

async function connected(client) {
  if (client.connection.state !== 'connected') await within(8000, 'connected', client.connection.once('connected'));
  return client;
}

async function failed(client) {
  const change = await within(8000, 'failed', client.connection.once('failed'));
  client.close();
  return change.reason;
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
    const realtime = (i, options) => cluster.realtime(i, { key: undefined, useBinaryProtocol, ...options });
    const rest = (i, k = ROOT, options = {}) => cluster.rest(i, { key: keyStr(k), useBinaryProtocol, ...options });

    // echoes shows that the connection works.
    async function echoes(client, channel = name('open')) {
      const got = queue('message');
      const ch = client.channels.get(channel);
      await ch.subscribe((m) => got.push(m));
      await ch.publish('x', 'y');
      return got.next();
    }

    test('authCallback with a token request', async () => {
      const issuer = rest(0);
      const c = await connected(
        realtime(1, { authCallback: (params, done) => issuer.auth.createTokenRequest({ ...params, clientId: 'alice' }).then((r) => done(null, r), done) }),
      );
      assert.equal(c.auth.clientId, 'alice');
      assert.equal((await echoes(c)).clientId, 'alice');
      await closed(c);
    });

    test('authCallback with a token string of another node', async () => {
      const c = await connected(realtime(2, { authCallback: (_, done) => rest(0).auth.requestToken().then((d) => done(null, d.token), done) }));
      assert.ok(!c.auth.clientId);
      await echoes(c);
      await closed(c);
    });

    test('TokenDetails say what they have to', async () => {
      const d = await rest(1).auth.requestToken({ ttl: 60_000, clientId: 'bob', capability: { 'open:*': ['subscribe', 'publish'] } });
      assert.equal(d.expires, d.issued + 60_000);
      assert.equal(d.keyName, app.keys[ROOT].keyName);
      assert.equal(d.clientId, 'bob');
      assert.equal(d.capability, '{"open:*":["publish","subscribe"]}');
      assert.ok(d.token.startsWith(app.appId + '.') && d.token.length <= 343);
      const limited = await rest(1, LIMITED).auth.requestToken({ capability: { 'read:x': ['*'], 'other:x': ['*'] } });
      assert.equal(limited.capability, '{"read:x":["subscribe"]}');
      const own = await rest(1, LIMITED).auth.requestToken();
      assert.deepEqual(JSON.parse(own.capability), JSON.parse(setup.keys[LIMITED].capability));
      await assert.rejects(rest(1, LIMITED).auth.requestToken({ capability: { other: ['*'] } }), (e) => e.code === 40160 && e.statusCode === 401);
      for (const bad of [{ ttl: -1 }, { ttl: 25 * 3600 * 1000 }, { capability: { a: ['fly'] } }, { capability: { a: ['*', 'publish'] } }, { capability: { a: [] } }])
        await assert.rejects(rest(1).auth.requestToken(bad), (e) => e.statusCode === 400, JSON.stringify(bad));
      await assert.rejects(rest(0).auth.requestToken({ timestamp: Date.now() - 600_000 }), (e) => e.code === 40104 && e.statusCode === 401);
    });

    test('a token request counts once in the whole cluster', async () => {
      const request = await rest(0).auth.createTokenRequest();
      const send = (i) =>
        fetch(`${cluster.url(i)}/keys/${request.keyName}/requestToken`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(request),
        });
      const replies = await Promise.all([0, 1, 2].map(send));
      assert.deepEqual(replies.map((r) => r.status).sort(), [201, 401, 401]);
      for (const r of replies) if (r.status === 401) assert.equal((await r.json()).error.code, 40105);
    });

    test('JWT: identity, capability, errors', async () => {
      const c = await connected(realtime(0, { token: jwt(app.keys[ROOT], { 'x-ably-clientId': 'carol', 'x-ably-capability': '{"open:*":["*"]}' }) }));
      assert.equal(c.auth.clientId, 'carol');
      await echoes(c);
      await assert.rejects(c.channels.get(name('closed')).attach(), (e) => e.code === 40160 && e.statusCode === 401);
      assert.equal(c.connection.state, 'connected');
      await closed(c);

      const inner = await rest(0).auth.requestToken({ clientId: 'dave' });
      const exp = Math.floor(inner.expires / 1000);
      const carrier = await connected(realtime(1, { token: jwt(app.keys[ROOT], { 'x-ably-token': inner.token, exp }, {}, 'not verified') }));
      assert.equal(carrier.auth.clientId, 'dave');
      await closed(carrier);

      // Nothing can renew these, which is what the SDK then says; REST tells the cause.
      const bad = jwt(app.keys[ROOT], {}, {}, 'wrong');
      assert.equal((await failed(realtime(1, { token: bad }))).code, 40171);
      const stats = async (token) => {
        const r = await fetch(cluster.url(2) + '/channels/x', { headers: { authorization: 'Bearer ' + Buffer.from(token).toString('base64') } });
        return [r.status, (await r.json()).error];
      };
      const [status, error] = await stats(bad);
      assert.deepEqual([status, error.code], [401, 40144]);
      assert.match(error.message, /invalid JWT format/);
      const [unknown, why] = await stats(jwt({ keyName: 'nope.nope', keySecret: 'x' }));
      assert.deepEqual([unknown, why.code], [404, 40400]);
      assert.equal((await failed(realtime(0, { token: jwt({ keyName: 'nope.nope', keySecret: 'x' }) }))).code, 40400);
    });

    test('clientId rules', async () => {
      const token = async (clientId) => (await rest(0).auth.requestToken(clientId ? { clientId } : {})).token;
      assert.equal((await failed(realtime(1, { token: await token('alice'), clientId: 'bob' }))).code, 40102);
      assert.equal((await failed(realtime(1, { token: await token(), clientId: 'bob' }))).code, 40102);
      const any = await connected(realtime(2, { token: await token('*'), clientId: 'bob' }));
      assert.equal(any.auth.clientId, 'bob');
      await closed(any);
      const basic = await connected(realtime(2, { key: keyStr(ROOT), clientId: 'eve' }));
      assert.equal(basic.auth.clientId, 'eve');
      await assert.rejects(basic.channels.get(name('open')).publish({ name: 'x', clientId: 'mallory' }), (e) => e.code === 40012);
      await closed(basic);
      const r = await cluster.rest(0, { key: undefined, token: await token('alice'), useBinaryProtocol }).request('get', '/channels/x', 2, null, null, {
        'X-Ably-ClientId': Buffer.from('bob').toString('base64'),
      });
      assert.equal(r.errorCode, 40102);
    });

    test('a token that expires on a live connection is renewed', async () => {
      let asked = 0;
      const c = await connected(
        realtime(0, { authCallback: (_, done) => (asked++, rest(1).auth.requestToken({ ttl: asked === 1 ? 1500 : 3600_000 }).then((d) => done(null, d), done)) }),
      );
      const change = await within(8000, 'disconnected', c.connection.once('disconnected'));
      assert.equal(change.reason.code, 40142);
      assert.equal(change.reason.statusCode, 401);
      await connected(c);
      assert.equal(asked, 2);
      await echoes(c);
      await closed(c);
    });

    test('a token that nobody renews fails the connection', async () => {
      const d = await rest(0).auth.requestToken({ ttl: 1000 });
      const c = await connected(realtime(2, { token: d.token }));
      assert.equal((await failed(c)).code, 40171);
    });

    test('authorize() on a live connection keeps it', async () => {
      const issuer = rest(2);
      let capability = { '*': ['*'] };
      const c = await connected(
        realtime(0, { authCallback: (_, done) => issuer.auth.createTokenRequest({ clientId: 'alice', capability }).then((r) => done(null, r), done) }),
      );
      const id = c.connection.id;
      const [keep, gone, less] = ['keep', 'gone', 'less'].map((n) => c.channels.get(name(n)));
      await Promise.all([keep.attach(), gone.attach(), less.attach()]);

      const update = c.connection.once('update');
      await within(8000, 'authorize', c.auth.authorize());
      await within(8000, 'update', update);
      assert.equal(c.connection.id, id);
      assert.equal(keep.state, 'attached');

      capability = { [keep.name]: ['*'], [less.name]: ['subscribe'] };
      const fails = gone.once('failed');
      await within(8000, 'authorize', c.auth.authorize());
      assert.equal((await within(8000, 'channel failed', fails)).reason.code, 40160);
      assert.equal(c.connection.id, id);
      assert.equal(keep.state, 'attached');
      await keep.publish('x', 'y');
      await assert.rejects(less.publish('x', 'y'), (e) => e.code === 40160 || e.code === 40165);
      await closed(c);
    });

    test('authorize() as another client fails the connection', async () => {
      let clientId = 'alice';
      const c = await connected(realtime(0, { authCallback: (_, done) => rest(0).auth.requestToken({ clientId }).then((d) => done(null, d.token), done) }));
      clientId = 'bob';
      const reason = failed(c);
      await assert.rejects(within(8000, 'authorize', c.auth.authorize()), (e) => e.code === 40102);
      assert.equal((await reason).code, 40102);
    });

    test('capabilities bound attach and publish', async () => {
      const c = await connected(realtime(1, { key: keyStr(LIMITED) }));
      await assert.rejects(c.channels.get(name('other')).attach(), (e) => e.code === 40160 && e.statusCode === 401);
      await assert.rejects(c.channels.get(name('other')).publish('x', 'y'), (e) => e.code === 40160);
      await c.channels.get(name('read')).attach();
      await c.channels.get(name('write')).publish('x', 'y');
      await assert.rejects(rest(0, LIMITED).channels.get(name('read')).publish('x', 'y'), (e) => e.code === 40160 && e.statusCode === 401);
      assert.equal(c.connection.state, 'connected');
      await closed(c);
    });

    test('revocation reaches live connections on all nodes', async () => {
      const target = name('client');
      const asked = [0, 0, 0];
      const clients = await Promise.all(
        [0, 1, 2].map((i) =>
          connected(realtime(i, { authCallback: (_, done) => (asked[i]++, rest(i, REVOCABLE).auth.requestToken({ clientId: target }).then((d) => done(null, d), done)) })),
        ),
      );
      const other = await connected(realtime(0, { token: (await rest(0, REVOCABLE).auth.requestToken({ clientId: 'somebody' })).token }));
      const old = (await rest(0, REVOCABLE).auth.requestToken({ clientId: target })).token;
      await new Promise((r) => setTimeout(r, 5)); // tokens count as older from the next millisecond on
      const ends = clients.map((c) => within(8000, 'disconnected', c.connection.once('disconnected')));
      const result = await rest(1, REVOCABLE).auth.revokeTokens([{ type: 'clientId', value: target }, { type: 'nonsense', value: 'x' }]);
      assert.equal(result.successCount, 1);
      assert.equal(result.failureCount, 1);
      assert.equal(result.results[0].target, 'clientId:' + target);
      assert.equal(result.results[1].error.statusCode, 400);
      for (const end of ends) assert.equal((await end).reason.code, 40141);
      await Promise.all(clients.map(connected));
      assert.deepEqual(asked, [2, 2, 2]);
      assert.equal(other.connection.state, 'connected');
      for (const i of [0, 1, 2]) {
        const r = await fetch(cluster.url(i) + '/channels/x?access_token=' + old);
        assert.equal((await r.json()).error.code, 40141, `node ${i} refuses what was revoked`);
      }
      await assert.rejects(rest(0, ROOT).auth.revokeTokens([{ type: 'clientId', value: 'x' }]), (e) => e.code === 40163);
      await closed(other, ...clients);
    });

    test('an app that is deleted takes its connections along', async () => {
      const doomed = await provision(2);
      const clients = await Promise.all([0, 1, 2].map((i) => connected(realtime(i, { key: doomed.keys[0].keyStr }))));
      const ends = clients.map(failed);
      const r = await fetch(`${cluster.url(1)}/apps/${doomed.appId}`, {
        method: 'DELETE',
        headers: { authorization: 'Basic ' + Buffer.from(doomed.keys[0].keyStr).toString('base64') },
      });
      assert.equal(r.status, 204);
      for (const end of ends) assert.equal((await end).code, 40131);
    });
  });
}

test('the server asks for another token before the old one ends', async () => {
  await Promise.all(
    [false, true].map(async (useBinaryProtocol) => {
      const issuer = cluster.rest(0, { key: keyStr(ROOT), useBinaryProtocol });
      let asked = 0;
      const c = await connected(
        cluster.realtime(1, {
          key: undefined,
          useBinaryProtocol,
          authCallback: (_, done) => (asked++, issuer.auth.requestToken({ ttl: 60_000 }).then((d) => done(null, d), done)),
        }),
      );
      const id = c.connection.id;
      const states = [];
      c.connection.on((change) => states.push(change.current));
      await within(40_000, 'update', c.connection.once('update'));
      assert.equal(asked, 2);
      assert.equal(c.connection.id, id);
      assert.deepEqual(states, ['connected'], 'it stayed connected');
      await closed(c);
    }),
  );
});
