// What tests of faults share: a proxy that cuts clients off, and nodes as processes that can be killed.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Ably from 'ably';
import { within, key, freeBase } from './server.mjs';

const binary = process.env.INNKEEPER ?? join(import.meta.dirname, '..', '..', 'bin', 'innkeeper');

// name is one that no other test uses.
export const name = (base) => `${base}:${Math.random().toString(36).slice(2)}`;

// proxy stands between a client and the nodes: it can send the client elsewhere, cut it off and let it back in.
export async function proxy(port) {
  const sockets = new Set();
  let target = port;
  const server = createServer((client) => {
    if (!target) return client.destroy();
    const node = connect(target, '127.0.0.1');
    for (const s of [client, node]) {
      sockets.add(s);
      s.on('error', () => {});
      s.on('close', () => (sockets.delete(s), client.destroy(), node.destroy()));
    }
    client.pipe(node).pipe(client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => sockets.forEach((s) => s.destroy());
  return {
    port: server.address().port,
    to: (port) => ((target = port), cut()),
    off: () => ((target = 0), cut()),
    close: () => (cut(), server.close()),
  };
}

export function realtime(port, options = {}) {
  return new Ably.Realtime({
    key, endpoint: '127.0.0.1', port, tls: false, logLevel: 0, disconnectedRetryTimeout: 200, ...options,
  });
}

export async function connected(client) {
  if (client.connection.state !== 'connected') await within(8000, 'connected', client.connection.once('connected'));
  return client;
}

export async function closed(...clients) {
  for (const client of clients) {
    const done = client.connection.once('closed');
    client.close();
    await within(8000, 'closed', done);
  }
}

// serve runs nodes as processes of their own, which can be killed.
export async function serve(count) {
  const dir = await mkdtemp(join(tmpdir(), 'innkeeper-continuity-'));
  const base = await freeBase(Array.from({ length: 10 * count }, (_, i) => i));
  const port = (i, kind) => base + 10 * i + kind;
  const join_ = Array.from({ length: count }, (_, i) => `127.0.0.1:${port(i, 3)}`);
  const config = join(dir, 'innkeeper.yaml');
  await writeFile(config, `apps: [{id: demo, keys: [{key: "${key}", capability: {"[*]*": ["*"]}}]}]\n`);
  const nodes = [];
  const run = (i) => {
    const child = spawn(binary, ['serve', '--config', config, '--node.data_dir', join(dir, `n${i}`), '--log.level', 'warn',
      '--node.listen', `127.0.0.1:${port(i, 0)}`, '--node.admin_listen', `127.0.0.1:${port(i, 1)}`,
      '--node.cluster_listen', `127.0.0.1:${port(i, 2)}`, '--node.gossip_listen', `127.0.0.1:${port(i, 3)}`,
      '--node.join', join_.join(','), '--node.bootstrap_expect', String(count)], { stdio: ['ignore', 'inherit', 'inherit'] });
    nodes[i] = { child, exited: once(child, 'exit') };
  };
  const ready = async (i) => {
    for (const end = Date.now() + 30000; Date.now() < end; ) {
      if (await fetch(`http://127.0.0.1:${port(i, 1)}/readyz`).then((r) => r.ok, () => false)) return;
      await new Promise((r) => setTimeout(r, 50)); // polls a process that has no other way to tell
    }
    throw new Error(`node ${i} is not ready`);
  };
  for (let i = 0; i < count; i++) run(i);
  for (let i = 0; i < count; i++) await ready(i);
  return {
    port: (i) => port(i, 0),
    async kill(i) {
      nodes[i].child.kill('SIGKILL');
      await nodes[i].exited;
    },
    async restart(i) {
      run(i);
      await ready(i);
    },
    async stop() {
      for (const n of nodes) n.child.kill('SIGKILL');
      await Promise.all(nodes.map((n) => n.exited));
      await rm(dir, { recursive: true, force: true });
    },
  };
}
