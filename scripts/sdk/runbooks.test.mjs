// The runbooks of docs/operations.md, carried out as they stand there: real processes, the command line, and ably-js clients
// that are attached meanwhile.
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtemp, mkdir, rename, rm, writeFile, open } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import Ably from 'ably';
import { binary, freeBase, key, within } from './server.mjs';

const run = promisify(execFile);
const PATIENCE = 40_000;

// until polls a process that has no other way to tell.
async function until(what, ok) {
  const end = Date.now() + PATIENCE;
  let last;
  while (Date.now() < end) {
    try {
      if ((last = await ok())) return last;
    } catch (err) {
      last = err;
    }
    await pause(100);
  }
  throw new Error(`not within ${PATIENCE} ms: ${what} (${last})`);
}

// Machine is a node's place: its directory, its addresses and its configuration.
class Machine {
  constructor(site, i) {
    Object.assign(this, { site, dir: join(site.dir, `n${i}`), base: site.base + 4 * i, extra: {}, output: '' });
  }
  get admin() {
    return `127.0.0.1:${this.base + 1}`;
  }
  get data() {
    return join(this.dir, 'data');
  }
  // start runs the node; settings are those of "node" that differ from what all have.
  async start(settings = this.extra) {
    this.extra = settings;
    await mkdir(this.dir, { recursive: true });
    const at = (k) => `127.0.0.1:${this.base + k}`;
    const node = {
      data_dir: this.data, listen: at(0), admin_listen: at(1), cluster_listen: at(2), gossip_listen: at(3),
      join: this.site.machines.map((m) => `127.0.0.1:${m.base + 3}`), bootstrap_expect: 3, drain_spread: '500ms', ...settings,
    };
    const config = { node, apps: [{ id: 'demo', keys: [{ key }] }], state_events: { vacated_delay: '2s', restart_grace: '15s' } };
    await writeFile(join(this.dir, 'innkeeper.yaml'), JSON.stringify(config)); // JSON is YAML
    this.process = spawn(binary, ['serve', '--config', join(this.dir, 'innkeeper.yaml')], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const s of [this.process.stdout, this.process.stderr]) s.on('data', (d) => (this.output += d));
    this.exited = once(this.process, 'exit').then(([code]) => ((this.process = undefined), code));
  }
  ready() {
    return until(`node ready at ${this.admin}`, async () => (await fetch(`http://${this.admin}/readyz`)).ok);
  }
  async stop(signal = 'SIGTERM') {
    this.process?.kill(signal);
    return this.exited;
  }
  // cli runs a command against this node's admin address.
  async cli(...args) {
    const { stdout } = await run(binary, [...args, '--admin', this.admin]);
    return stdout;
  }
  async members() {
    const { members, servers, leader } = JSON.parse(await this.cli('cluster', 'members', '--json'));
    return { members, servers, leader };
  }
  async id() {
    return JSON.parse(await this.cli('cluster', 'members', '--json')).node;
  }
  async get(path) {
    const r = await fetch(`http://127.0.0.1:${this.base}${path}`, { headers: { authorization: 'Basic ' + Buffer.from(key).toString('base64') } });
    assert.equal(r.status, 200, path);
    return r.json();
  }
  // What is asked of the leader misses nothing that was confirmed before, whichever node answers.
  events = async () => (await this.get('/events?limit=10000&consistency=leader')).events;
  occupied = async () => (await this.get('/occupied?consistency=leader')).channels.map((c) => c.channel).sort();
  // client is an SDK client of this node.
  client() {
    const c = new Ably.Realtime({ key, endpoint: '127.0.0.1', port: this.base, tls: false, logLevel: 0, disconnectedRetryTimeout: 200 });
    this.site.clients.push(c);
    return c;
  }
}

// site is a cluster of three, and room for more machines.
async function site(machines = 3) {
  const base = await freeBase(Array.from({ length: 4 * 6 }, (_, i) => i));
  const s = { base, dir: await mkdtemp(join(tmpdir(), 'innkeeper-runbooks-')), clients: [], machines: [] };
  s.add = () => s.machines[s.machines.push(new Machine(s, s.machines.length)) - 1];
  for (let i = 0; i < machines; i++) s.add();
  s.close = async () => {
    for (const c of s.clients) c.close();
    await Promise.all(s.machines.map((m) => m.stop('SIGKILL')));
    await rm(s.dir, { recursive: true, force: true });
  };
  await Promise.all(s.machines.map((m) => m.start()));
  await Promise.all(s.machines.map((m) => m.ready()));
  return s;
}

// story gives a test a cluster, and tells what its nodes said when it fails.
function story(name, tell, options) {
  test(name, { timeout: 3 * PATIENCE, ...options }, async () => {
    const s = await site();
    try {
      await tell(s, ...s.machines);
    } catch (err) {
      err.message += s.machines.map((m) => `\n--- ${m.dir}\n${m.output.split('\n').slice(-15).join('\n')}`).join('');
      throw err;
    } finally {
      await s.close();
    }
  });
}

// vacated are the channels that were.
const vacated = async (m) => (await m.events()).filter((e) => e.type === 'vacated').map((e) => e.channel);

story('hand leadership over', async (s, a, b, c) => {
  const client = a.client();
  await within(8000, 'attached', client.channels.get('chat:a').attach());
  const lost = [];
  client.connection.on((change) => lost.push(change.current));
  const { leader } = await a.members();
  const said = await a.cli('cluster', 'leader', 'transfer');
  const now = await until('another leader', async () => {
    const m = await c.members();
    return m.leader && m.leader !== leader && m.leader;
  });
  assert.equal(said, `${now} leads\n`);
  await within(8000, 'published', client.channels.get('chat:a').publish('x', 'y'));
  assert.deepEqual(lost, [], 'clients notice nothing');
});

story('rolling upgrade', async (s, ...nodes) => {
  const clients = nodes.map((m) => m.client());
  for (const [i, c] of clients.entries()) await within(8000, 'attached', c.channels.get(`chat:${i}`).attach());
  const took = [];
  for (const m of nodes) {
    const id = await m.id();
    const began = Date.now();
    assert.equal(await m.stop('SIGTERM'), 0);
    await m.start();
    await m.ready();
    await until('alive with partitions', async () => (await m.members()).members.some((x) => x.node === id && x.state === 'alive' && x.partitions_owned > 0));
    took.push(Date.now() - began);
  }
  for (const [i, c] of clients.entries()) await until(`chat:${i} attached again`, () => c.connection.state === 'connected' && c.channels.get(`chat:${i}`).state === 'attached');
  assert.deepEqual(await nodes[0].occupied(), ['chat:0', 'chat:1', 'chat:2']);
  console.log(`  a node took ${took.map((t) => (t / 1000).toFixed(1)).join(', ')} s`);
});

story('drain a node', async (s, a, b, c) => {
  const client = b.client();
  await within(8000, 'attached', client.channels.get('chat:a').attach());
  const id = await a.id();
  await a.cli('drain');
  assert.equal(await within(20_000, 'the end of the process', a.exited), 0);
  await until('no partitions with the drained node', async () => !(await b.members()).members.some((m) => m.node === id && m.partitions_owned > 0));
  assert.deepEqual(await vacated(b), []);
  await a.start();
  await a.ready();
});

story('replace a dead node', async (s, a, b, c) => {
  const client = a.client();
  await within(8000, 'attached', client.channels.get('chat:a').attach());
  const dead = await c.id();
  await assert.rejects(a.cli('cluster', 'remove', dead), /alive/, 'a node that is alive is refused');
  await c.stop('SIGKILL');
  await until('dead by agreement', async () => (await a.members()).members.some((m) => m.node === dead && m.state === 'dead'));
  assert.equal(await a.cli('cluster', 'remove', dead), `${dead} is removed\n`);
  await until('no longer a member', async () => !(await a.members()).servers.some((m) => m.node === dead));
  await rm(c.data, { recursive: true });
  await c.start({ bootstrap_expect: 0 }); // at the address of the old one
  await c.ready();
  const fresh = await c.id();
  assert.notEqual(fresh, dead);
  await until('a vote', async () => (await a.members()).servers.some((m) => m.node === fresh && m.voter));
  assert.deepEqual(await c.occupied(), ['chat:a']);
  assert.deepEqual(await vacated(c), []);
  assert.match(await a.cli('cluster', 'status'), /3 servers, 3 vote, 1 may fail/);
});

story('move a node to other addresses', async (s, a, b, c) => {
  const client = a.client();
  await within(8000, 'attached', client.channels.get('chat:a').attach());
  const id = await c.id();
  assert.equal(await c.stop('SIGTERM'), 0);
  c.base = s.base + 16;
  await c.start();
  await c.ready();
  assert.equal(await c.id(), id, 'it is who it was');
  await until('the new addresses are known', async () => {
    const { members, servers } = await a.members();
    const m = members.find((m) => m.node === id);
    return m.state === 'alive' && m.client_addr === `127.0.0.1:${c.base}` && servers.find((x) => x.node === id).addr === `127.0.0.1:${c.base + 2}`;
  });
  // The others get addresses of their own, one at a time, until nothing is where it was.
  for (const [i, m] of [a, b].entries()) {
    client.close();
    assert.equal(await m.stop('SIGTERM'), 0);
    m.base = s.base + 20 - 8 * i;
    await m.start();
    await m.ready();
  }
  assert.match(await c.cli('cluster', 'status'), /3 alive/);
});

const mountable = process.getuid?.() === 0 && process.platform === 'linux';
story('the disk is full', async (s, a, b, c) => {
  await c.stop('SIGTERM');
  const small = join(s.dir, 'small');
  await mkdir(small);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', small]);
  try {
    await run('cp', ['-a', c.data, join(small, 'data')]);
    await c.start({ data_dir: join(small, 'data') });
    await c.ready();
    const ballast = await open(join(small, 'ballast'), 'w');
    await assert.rejects(async () => {
      for (;;) await ballast.write(Buffer.alloc(4096));
    }, /ENOSPC/);
    await ballast.close();
    const client = a.client();
    for (let i = 0; c.process && i < 2000; i++) await within(8000, 'attached', client.channels.get(`chat:${i}-${'x'.repeat(100)}`).attach());
    assert.equal(await within(8000, 'the end of the node', c.exited), 3);
    assert.match(c.output, /no space left on device/);
    assert.match(c.output, /make room/);
    await within(8000, 'attached', client.channels.get('chat:others-go-on').attach());
    await rm(join(small, 'ballast'));
    await c.start();
    await c.ready();
    await until('it has caught up', async () => (await c.occupied()).includes('chat:others-go-on'));
    assert.deepEqual(await vacated(c), []);
  } finally {
    await c.stop('SIGKILL');
    execFileSync('umount', [small]);
  }
}, { skip: mountable ? false : 'needs to mount a small file system' });

// refound goes on from a backup as the runbook says: one restored node, the others empty.
async function refound(s, file, [first, ...others]) {
  for (const m of s.machines) if (existsSync(m.data)) await rename(m.data, m.data + '.old');
  await run(binary, ['restore', file, '--data-dir', first.data]);
  await first.start({ bootstrap_expect: 1, join: [] });
  await first.ready();
  for (const m of others) {
    await m.start({ bootstrap_expect: 0, join: [`127.0.0.1:${first.base + 3}`] });
    await m.ready();
  }
}

story('back up and restore', async (s, a, b, c) => {
  const client = a.client();
  for (const name of ['chat:stays', 'chat:leaves']) await within(8000, 'attached', client.channels.get(name).attach());
  const before = await a.events();
  const file = join(s.dir, 'backup');
  const said = await b.cli('backup', file);
  assert.match(said, new RegExp(`\\b${before.at(-1).seq}\\b`), 'it says what it has');
  await assert.rejects(b.cli('backup', file), /exists|there/, 'it replaces no file');
  client.close();
  await Promise.all(s.machines.map((m) => m.stop('SIGTERM')));
  await refound(s, file, [c, a, b]);
  assert.deepEqual((await a.events()).slice(0, before.length), before, 'events keep their ids and seqs');
  const back = a.client();
  await within(8000, 'attached', back.channels.get('chat:stays').attach()); // within the restart grace
  await until('who did not come back is vacated', async () => (await vacated(b)).length > 0);
  assert.deepEqual(await vacated(b), ['chat:leaves']);
  assert.deepEqual(await b.occupied(), ['chat:stays']);
});

story('the majority is lost', async (s, a, b, c) => {
  const client = a.client();
  await within(8000, 'attached', client.channels.get('chat:a').attach());
  await until('all have it', async () => (await c.events()).length === 1);
  await Promise.all([a, b].map((m) => m.stop('SIGKILL')));
  for (const m of [a, b]) await rm(m.data, { recursive: true });
  await until('no leader', async () => /leader +-/.test(await c.cli('cluster', 'status')));
  assert.match(await c.cli('cluster', 'status'), /2 of these not seen: no majority, 1 must come back/);
  const readyz = await fetch(`http://${c.admin}/readyz`);
  assert.equal(readyz.status, 503);
  assert.match(await readyz.text(), /leader/);
  const file = join(s.dir, 'backup');
  await assert.rejects(c.cli('backup', file), /innkeeper backup --stale/, 'without a leader nobody knows what is newest');
  assert.match(await c.cli('backup', '--stale', file), /\b1\b/);
  await c.stop('SIGTERM');
  await refound(s, file, [c, a, b]);
  await until('the client is back', () => client.connection.state === 'connected' && client.channels.get('chat:a').state === 'attached');
  await pause(1000);
  assert.deepEqual((await b.events()).map((e) => `${e.type} ${e.channel}`), ['occupied chat:a'], 'who comes back within the grace causes no event');
  assert.match(await a.cli('cluster', 'status'), /3 servers, 3 vote, 1 may fail/);
});
