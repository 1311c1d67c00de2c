// Backends as others write them: a handler for Centrifugo PRO's channel state events over HTTP, one over gRPC from a .proto
// of its own, and a receiver that checks signatures with the library of Standard Webhooks. One node serves all three, and two that are never well.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { join } from 'node:path';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';
import { serve, within, key } from './server.mjs';

const CHANNELS = 40;
const ROUNDS = ['occupied', 'vacated', 'occupied', 'vacated'];
const secrets = ['whsec_' + Buffer.from('the first of two keys, 32 bytes.').toString('base64'), 'whsec_' + Buffer.from('a key that replaces the first').toString('base64')];

// Backend keeps what it was sent. Its first answers are the given ones, all later ones accept.
class Backend {
  constructor(refusals) {
    this.refusals = refusals;
    this.batches = []; // { text, headers, events, accepted }
    this.wake = () => {};
  }
  // take writes a batch down and says how to answer: with a refusal, or undefined.
  take(batch) {
    const refusal = this.refusals.shift();
    this.batches.push({ accepted: refusal === undefined, ...batch });
    this.wake();
    return refusal;
  }
  get accepted() {
    return this.batches.filter((b) => b.accepted).flatMap((b) => b.events);
  }
  async until(n) {
    while (this.accepted.length < n) {
      await within(20_000, `${n} events, there are ${this.accepted.length}`, new Promise((r) => (this.wake = r)));
    }
  }
}

// over HTTP: what a Flask handler for the proxy does, whose answers are as a backend's may be.
const http = new Backend([
  (res) => json(res, 200, { error: { code: 1000, message: 'try later' } }),
  (res) => json(res, 500, { result: {} }),
  (res) => res.writeHead(200, { 'content-type': 'application/json' }).end('<html>'),
  (res) => json(res, 200, { error: {} }),
  () => {}, // no answer at all
]);

function json(res, status, body) {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

const web = createServer(async (req, res) => {
  const text = (await req.toArray()).join('');
  if (req.url === '/silent') return;
  if (req.url === '/signed') {
    const refusal = signed.take({ text, headers: req.headers, events: JSON.parse(text).events });
    return refusal ? refusal(res) : res.writeHead(204).end();
  }
  assert.equal(`${req.method} ${req.url}`, 'POST /centrifugo/channel_events');
  const body = JSON.parse(text);
  const refusal = http.take({ text, headers: req.headers, events: body.events });
  refusal ? refusal(res) : json(res, 200, { result: {} });
});

// over gRPC.
const rpc = new Backend([
  (call, done) => done(null, { error: { code: 1000, message: 'try later', temporary: true } }),
  (call, done) => done({ code: grpc.status.INTERNAL, details: 'broken' }),
  (call, done) => done(null, { error: {} }),
  (call, done) => done({ code: grpc.status.UNAVAILABLE, details: 'restarting' }),
  () => {}, // no answer at all
]);

const { CentrifugoProxy } = grpc.loadPackageDefinition(
  protoLoader.loadSync(join(import.meta.dirname, 'centrifugo.proto'), { keepCase: true, longs: Number }),
).centrifugal.centrifugo.proxy;

const calls = new grpc.Server();
calls.addService(CentrifugoProxy.service, {
  NotifyChannelState(call, done) {
    const refusal = rpc.take({ text: JSON.stringify(call.request), headers: call.metadata.getMap(), events: call.request.events });
    refusal ? refusal(call, done) : done(null, { result: {} });
  },
});

const signed = new Backend([(res) => res.writeHead(503).end()]);

let node;
let began;
before(async () => {
  await once(web.listen(0, '127.0.0.1'), 'listening');
  const port = await new Promise((resolve, reject) =>
    calls.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (err, port) => (err ? reject(err) : resolve(port))),
  );
  const origin = `http://127.0.0.1:${web.address().port}`;
  const headers = { Authorization: 'Bearer 1234', 'X-Team': 'chat' };
  const rule = (id, target) => ({ id, source: 'channel.state', channels: '^chat:', target: { timeout: '1s', ...target } });
  node = await serve({
    apps: [
      {
        id: 'demo',
        keys: [{ key }],
        rules: [
          rule('http', { url: origin + '/centrifugo/channel_events', format: 'centrifugo', headers }),
          rule('grpc', { url: `grpc://127.0.0.1:${port}`, headers }),
          rule('signed', { url: origin + '/signed', secrets }),
          rule('dead', { url: 'http://127.0.0.1:1/' }), // nobody listens there
          rule('silent', { url: origin + '/silent' }),
        ],
      },
    ],
    state_events: { vacated_delay: '200ms' },
  });
  began = Date.now();

  // Channels come and go twice; each time all at once, so that there are batches.
  const client = node.realtime(0);
  const channels = Array.from({ length: CHANNELS }, (_, i) => client.channels.get(`chat:${i} ünï/${i % 3 ? 'a' : '"b"'}`));
  await client.channels.get('other:one').attach(); // no rule wants it
  for (let round = 0; round < ROUNDS.length; round++) {
    await within(8000, ROUNDS[round], Promise.all(channels.map((c) => (round % 2 ? c.detach() : c.attach()))));
    await Promise.all([http, rpc, signed].map((b) => b.until(CHANNELS * (round + 1))));
  }
});
after(async () => {
  await node?.stop();
  web.closeAllConnections();
  web.close();
  calls.forceShutdown();
});

function grouped(items, by) {
  const groups = new Map();
  for (const item of items) groups.set(by(item), [...(groups.get(by(item)) ?? []), item]);
  return groups;
}

// delivered judges what a backend accepted: each channel's events once, in order, and no others.
function delivered(backend) {
  const got = grouped(backend.accepted, (e) => e.channel);
  assert.equal(got.size, CHANNELS);
  for (const [channel, events] of got) {
    assert.match(channel, /^chat:\d+ ünï\/(a|"b")$/);
    assert.deepEqual(events.map((e) => e.type), ROUNDS, channel);
    for (const [i, e] of events.entries()) {
      assert.ok(Number.isInteger(e.time_ms) && e.time_ms >= (i ? events[i - 1].time_ms : began) && e.time_ms <= Date.now(), `${channel} at ${e.time_ms}`);
    }
  }
  assert.ok(backend.batches.some((b) => b.events.length > 1), 'events are sent in batches');
}

// insisted judges that each refused batch was sent again as it was before anything else of its channels.
function insisted(backend, refused) {
  const bad = backend.batches.filter((b) => !b.accepted);
  assert.equal(bad.length, refused);
  for (const b of bad) {
    const channels = new Set(b.events.map((e) => e.channel));
    const next = backend.batches.slice(backend.batches.indexOf(b) + 1).find((l) => l.events.some((e) => channels.has(e.channel)));
    assert.equal(next.text, b.text, 'a batch that was not accepted is sent again as it was');
  }
}

test('a handler for Centrifugo over HTTP gets what it expects', () => {
  delivered(http);
  for (const b of http.batches) {
    assert.deepEqual(Object.keys(JSON.parse(b.text)), ['events']);
    for (const e of b.events) assert.deepEqual(Object.keys(e), ['channel', 'type', 'time_ms']);
    assert.equal(b.headers['content-type'], 'application/json');
    assert.equal(b.headers.authorization, 'Bearer 1234');
    assert.equal(b.headers['x-team'], 'chat');
  }
});

test('errors, bad statuses, unreadable answers and silence over HTTP are retried', () => insisted(http, 5));

test('a server for Centrifugo over gRPC gets what it expects', () => {
  delivered(rpc);
  for (const b of rpc.batches) {
    assert.equal(b.headers.authorization, 'Bearer 1234');
    assert.equal(b.headers['x-team'], 'chat');
  }
});

test('errors, bad statuses and silence over gRPC are retried', () => insisted(rpc, 5));

test('requests are signed as Standard Webhooks says', () => {
  delivered(signed);
  insisted(signed, 1);
  for (const b of signed.batches) {
    for (const secret of secrets) assert.deepEqual(new Webhook(secret).verify(b.text, b.headers), JSON.parse(b.text));
    assert.throws(() => new Webhook(secrets[0]).verify(b.text.replace('"seq":', '"seq":1'), b.headers), WebhookVerificationError);
    assert.throws(() => new Webhook('whsec_' + Buffer.from('somebody else’s key').toString('base64')).verify(b.text, b.headers), WebhookVerificationError);
  }
  const ids = grouped(signed.batches, (b) => b.headers['webhook-id']);
  for (const same of ids.values()) assert.equal(new Set(same.map((b) => b.text)).size, 1, 'an id names one batch');
  assert.equal(signed.batches.length, ids.size + 1, 'what is sent again keeps its id');
});

test('a dead and a silent target are told of, and cost the others nothing', async () => {
  const status = async () => Object.fromEntries((await (await fetch(node.admin(0) + '/rules')).json()).rules.map((r) => [r.rule, r]));
  let rules;
  for (const end = Date.now() + 8000; ; ) {
    rules = await status();
    if (['http', 'grpc', 'signed'].every((id) => rules[id].lag === 0)) break;
    assert.ok(Date.now() < end, `others lag: ${JSON.stringify(rules)}`);
    await new Promise((r) => setTimeout(r, 50)); // cursors are committed a little later
  }
  const n = CHANNELS * ROUNDS.length;
  for (const id of ['http', 'grpc', 'signed']) assert.equal(rules[id].sent, n, id);
  assert.deepEqual([rules.http.failures_by_kind, rules.signed.failures_by_kind], [{ answer: 3, status: 1, timeout: 1 }, { status: 1 }]);
  for (const [id, kind, error] of [['dead', 'connect', /refused/], ['silent', 'timeout', /no answer within 1s/]]) {
    const r = rules[id];
    assert.equal(r.sent, 0);
    assert.ok(r.lag >= n && r.lag_seconds > 1 && r.failures_by_kind[kind] > 0, JSON.stringify(r));
    assert.match(r.last_error, error);
  }
  const metrics = await (await fetch(node.admin(0) + '/metrics')).text();
  const value = (name, labels) => Number(metrics.match(new RegExp(`^innkeeper_${name}\\{${labels}\\} (.*)$`, 'm'))?.[1]);
  assert.equal(value('rule_lag_events', 'app="demo",rule="http"'), 0);
  assert.ok(value('rule_lag_events', 'app="demo",rule="dead"') >= n);
  assert.ok(value('rule_lag_seconds', 'app="demo",rule="silent"') > 1);
  assert.ok(value('rule_attempts_total', 'app="demo",rule="dead"') > 1);
  assert.ok(value('rule_failures_total', 'app="demo",kind="connect",rule="dead"') > 1);
});
