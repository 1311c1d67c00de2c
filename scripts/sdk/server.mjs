// Starts `innkeeper` as a process of its own and knows how to reach its nodes.
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import Ably from 'ably';

export const binary = process.env.INNKEEPER ?? join(import.meta.dirname, '..', '..', 'bin', 'innkeeper');

export const key = 'demo.root:secret';

// freeBase finds a base port so that base + each offset is free. It stays below the ports that systems give to outgoing
// connections: one of those could be gone by the time the process listens.
export async function freeBase(offsets) {
  for (let tries = 0; tries < 50; tries++) {
    const base = 20000 + Math.floor(Math.random() * 12000);
    if ((await Promise.all(offsets.map((o) => isFree(base + o)))).every(Boolean)) return base;
  }
  throw new Error('no free ports');
}

function isFree(port) {
  return new Promise((resolve) => {
    const s = createServer();
    s.once('error', () => resolve(false));
    s.listen(port, '127.0.0.1', () => s.close(() => resolve(true)));
  });
}

// start runs a cluster until stop() and resolves once every node is ready.
export async function start({ nodes = 1, args = [] } = {}) {
  const base = await freeBase(Array.from({ length: nodes }, (_, i) => [i, 100 + i]).flat());
  return run(nodes, base, (dir) => ['dev', '--nodes', String(nodes), '--listen', `127.0.0.1:${base}`, '--data-dir', dir, ...args]);
}

// serve runs one node as in production, on a configuration of the test's own, until stop().
export async function serve(config) {
  const base = await freeBase([0, 100, 200, 300]);
  const at = (offset) => `127.0.0.1:${base + offset}`;
  return run(1, base, async (dir) => {
    const node = { data_dir: join(dir, 'data'), listen: at(0), admin_listen: at(100), cluster_listen: at(200), gossip_listen: at(300) };
    const file = join(dir, 'innkeeper.yaml');
    await writeFile(file, JSON.stringify({ node, ...config })); // JSON is YAML
    return ['serve', '--config', file];
  });
}

async function run(nodes, base, args) {
  const dir = await mkdtemp(join(tmpdir(), 'innkeeper-sdk-'));
  const child = spawn(binary, await args(dir), { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (d) => (output += d));
  child.stderr.on('data', (d) => (output += d));
  const exited = once(child, 'exit');
  let gone = false;
  const clients = [];
  exited.then(() => (gone = true));
  const cluster = {
    nodes,
    port: (i) => base + i,
    admin: (i) => `http://127.0.0.1:${base + 100 + i}`,
    url: (i) => `http://127.0.0.1:${base + i}`,
    output: () => output,
    // realtime and rest are unmodified SDK clients; only host and port are ours.
    realtime(i, options = {}) {
      const client = new Ably.Realtime({ key, endpoint: '127.0.0.1', port: base + i, tls: false, logLevel: 0, ...options });
      clients.push(client);
      return client;
    },
    rest: (i, options = {}) => new Ably.Rest({ key, endpoint: '127.0.0.1', port: base + i, tls: false, logLevel: 0, ...options }),
    async stop() {
      for (const client of clients) client.close(); // one left by a failed test would keep this process alive
      if (!gone) child.kill('SIGTERM');
      const [code] = await exited;
      await rm(dir, { recursive: true, force: true });
      return code;
    },
  };
  const deadline = Date.now() + 30_000;
  for (let i = 0; i < nodes; i++) {
    for (;;) {
      if (gone) throw new Error(`innkeeper ended early:\n${output}`);
      const ok = await fetch(cluster.admin(i) + '/readyz').then((r) => r.ok, () => false);
      if (ok) break;
      if (Date.now() > deadline) throw new Error(`node ${i} not ready in 30 s:\n${output}`);
      await new Promise((r) => setTimeout(r, 50)); // polls a process that has no other way to tell
    }
  }
  return cluster;
}

// within fails when the promise takes longer than ms: a hung client shall name what it waited for.
export function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing after ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// queue collects what a subscription delivers and hands it out in order.
export function queue(what) {
  const items = [];
  const waiters = [];
  return {
    push: (item) => (waiters.length ? waiters.shift()(item) : items.push(item)),
    next(ms = 8000) {
      if (items.length) return Promise.resolve(items.shift());
      let waiter;
      const item = new Promise((r) => waiters.push((waiter = r)));
      return within(ms, what, item).catch((e) => {
        waiters.splice(waiters.indexOf(waiter), 1); // it shall not take an item from who asks next
        throw e;
      });
    },
    // until drops items up to the first that passes.
    async until(test, ms = 8000) {
      const end = Date.now() + ms;
      for (;;) {
        const item = await this.next(Math.max(1, end - Date.now()));
        if (test(item)) return item;
      }
    },
    get size() {
      return items.length;
    },
  };
}
