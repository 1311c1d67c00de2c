// What a conformance check is given. Runs in Node and in browsers: nothing here knows where it is.

// setup is the app that checks use, as POST /apps takes it. Keys are named by their places.
export const KEY = { all: 0, plain: 1, subscribe: 2, publish: 3, revocable: 4 };
export const setup = {
  keys: [
    { capability: '{"[*]*":["*"]}' },
    {},
    { capability: '{"*":["subscribe"]}' },
    { capability: '{"*":["publish"]}' },
    { capability: '{"[*]*":["*"]}', revocableTokens: true },
  ],
  namespaces: [{ id: 'persisted', persisted: true }, { id: 'mutable', mutableMessages: true }],
  channels: [],
};

export class Failed extends Error {}

// check names a section of the protocol and what is promised there.
export const check = (section, name, run) => ({ section, name, run });

const show = (v) => {
  try {
    return JSON.stringify(v)?.slice(0, 300) ?? String(v);
  } catch {
    return String(v);
  }
};

// plain makes values of both platforms comparable: bytes become lists, undefined becomes null.
function plain(v) {
  if (v === undefined || v === null) return null;
  if (v instanceof ArrayBuffer) return [...new Uint8Array(v)];
  if (ArrayBuffer.isView(v)) return [...new Uint8Array(v.buffer, v.byteOffset, v.byteLength)];
  if (Array.isArray(v)) return v.map(plain);
  if (typeof v === 'object') return Object.fromEntries(Object.keys(v).sort().filter((k) => v[k] !== undefined).map((k) => [k, plain(v[k])]));
  return v;
}

export const equal = (a, b) => JSON.stringify(plain(a)) === JSON.stringify(plain(b));

export function is(got, want, what = 'it') {
  if (!equal(got, want)) throw new Failed(`${what} is ${show(plain(got))}, want ${show(plain(want))}`);
}

export function ok(truth, what) {
  if (!truth) throw new Failed(`not so: ${what}`);
}

// within fails when the promise takes longer than ms.
export function within(promise, what, ms = 15000) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Failed(`${what}: nothing after ${ms} ms`)), ms)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// refused is the error that a promise rejects with; its code is one of codes.
export async function refused(promise, ...codes) {
  let value;
  try {
    value = await within(promise, 'a refusal');
  } catch (err) {
    if (err instanceof Failed) throw err;
    ok(codes.includes(err.code), `the error is one of ${codes}, got ${err.code}: ${err.message}`);
    return err;
  }
  throw new Failed(`it was taken: ${show(value)}; want the error ${codes}`);
}

// queue collects what a subscription delivers and hands it out in order.
export function queue(what) {
  const items = [];
  const waiters = [];
  return {
    push: (item) => (waiters.length ? waiters.shift()(item) : items.push(item)),
    next: (ms) => within(items.length ? Promise.resolve(items.shift()) : new Promise((r) => waiters.push(r)), what, ms),
    async until(test) {
      for (;;) {
        const item = await this.next();
        if (test(item)) return item;
      }
    },
    get size() {
      return items.length;
    },
  };
}

export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

// until polls what no event tells of.
export async function until(test, what, ms = 10000) {
  for (const end = Date.now() + ms; ; await sleep(20)) {
    if (await test()) return;
    if (Date.now() > end) throw new Failed(`not within ${ms} ms: ${what}`);
  }
}

let names = 0;

// Env makes clients of one format at nodes of a check's choice, and names that nobody else uses.
export class Env {
  constructor({ Ably, vcdiff, ports, app, format, place }) {
    Object.assign(this, { Ably, vcdiff, ports, app, format, place });
    this.clients = [];
  }

  get nodes() {
    return this.ports.length;
  }

  name(base) {
    return `${base}-${this.place}-${this.format}-${names++}-${Math.random().toString(36).slice(2, 8)}`;
  }

  key(i = KEY.all) {
    return this.app.keys[i].keyStr;
  }

  options(node, options) {
    const credentials = ['key', 'token', 'tokenDetails', 'authCallback', 'authUrl'].some((k) => k in options) ? {} : { key: this.key() };
    return {
      ...credentials,
      endpoint: '127.0.0.1',
      port: this.ports[node % this.ports.length],
      tls: false,
      useBinaryProtocol: this.format === 'msgpack',
      transports: ['web_socket'],
      disconnectedRetryTimeout: 300,
      logHandler: () => {},
      ...options,
    };
  }

  // client is a realtime client that may fail to connect.
  client(node, options = {}) {
    const c = new this.Ably.Realtime(this.options(node, options));
    this.clients.push(c);
    return c;
  }

  // connect is one that is connected.
  async connect(node, options = {}) {
    const c = this.client(node, options);
    await this.connected(c);
    return c;
  }

  async connected(c) {
    if (c.connection.state !== 'connected') await within(c.connection.once('connected'), 'connected');
  }

  rest(node, options = {}) {
    return new this.Ably.Rest(this.options(node, options));
  }

  // failure is why a client does not connect.
  async failure(node, options) {
    const c = this.client(node, options);
    const change = await within(c.connection.once('failed'), 'failed');
    return change.reason;
  }

  // listen subscribes and collects what is heard.
  async listen(c, name, options, event) {
    const got = queue(name);
    const ch = c.channels.get(name, options);
    await within(event ? ch.subscribe(event, (m) => got.push(m)) : ch.subscribe((m) => got.push(m)), 'subscribed');
    return Object.assign(got, { channel: ch });
  }

  // drop cuts the socket of a client without a word.
  drop(c) {
    c.connection.connectionManager.disconnectAllTransports();
  }

  async closed(c) {
    const done = c.connection.once('closed');
    c.close();
    await within(done, 'closed');
  }

  // jwt signs a JWT as an application's server does.
  async jwt(i, claims = {}) {
    const k = this.app.keys[i];
    const utf8 = new TextEncoder();
    const b64 = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
    const part = (v) => b64(utf8.encode(JSON.stringify(v)));
    const now = Math.floor(Date.now() / 1000);
    const text = part({ typ: 'JWT', alg: 'HS256', kid: k.keyName }) + '.' + part({ iat: now, exp: now + 3600, ...claims });
    const secret = await crypto.subtle.importKey('raw', utf8.encode(k.keySecret), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
    return text + '.' + b64(new Uint8Array(await crypto.subtle.sign('HMAC', secret, utf8.encode(text))));
  }

  end() {
    for (const c of this.clients) c.close();
  }
}

// runAll runs checks, so many at a time, and tells what became of each: '' or why it failed.
export async function runAll(checks, make, atOnce, tell) {
  const todo = [...checks.entries()];
  const worker = async () => {
    for (let next = todo.shift(); next; next = todo.shift()) {
      const [i, check] = next;
      const env = make(check);
      let failed = '';
      try {
        await within(check.run(env), 'the check', 45000);
      } catch (err) {
        failed = err instanceof Failed ? `${err.message}\n${err.stack}` : (err.stack ?? `${err.code} ${err.message ?? err}`) || 'failed';
      }
      env.end();
      tell(i, failed);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
