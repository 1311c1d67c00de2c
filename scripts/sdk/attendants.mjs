// Unmodified ably-js clients that are present on channels while nodes are killed, and tell what they mean and see.
// Usage: node attendants.mjs '{"key": "…", "ports": [8080, …], "channels": ["meet:0", …]}'
// It says "ready" when all have entered. On its standard input a line "stir" has one of them change something; "look" has it
// answer with one line once nothing is under way any more:
//   {"means": {"meet:0": ["client@connection=data"]}, "sees": [{"meet:0": […]}], "steady": ["meet:0 client@connection"],
//    "leaves": [["meet:0", client, connection, witness]], "trouble": ["…"]}
// where steady is who has been there all the time since the last line "settle".
import { createInterface } from 'node:readline';
import Ably from 'ably';
import { roundabout } from './roundabout.mjs';

const plan = JSON.parse(process.argv[2]);
let leaves = [];
let trouble = [];
const within = (ms, promise) => Promise.race([promise, new Promise((_, no) => setTimeout(() => no(new Error(`nothing after ${ms} ms`)), ms))]);

async function client(i) {
  const way = await roundabout(plan.ports, i);
  const c = new Ably.Realtime({
    key: plan.key, clientId: `sdk${i}`, endpoint: '127.0.0.1', port: way.port, tls: false, logHandler: () => {}, useBinaryProtocol: i % 2 === 1,
    disconnectedRetryTimeout: 200,
  });
  const means = {}; // data by channel; undefined: not present
  const busy = new Set();
  const fickle = new Set(); // channels on which it came or went since the last "settle"
  const say = (name, what, data) => {
    if (what !== 'update') fickle.add(name);
    means[name] = what === 'leave' ? undefined : data;
    const done = c.channels.get(name).presence[what](data).catch((e) => trouble.push(`ably-js ${i} could not ${what} on ${name}: ${e.message}`));
    busy.add(done);
    done.then(() => busy.delete(done));
  };
  for (const name of plan.channels) {
    const channel = c.channels.get(name);
    await channel.presence.subscribe('leave', (m) => {
      if (!m.id?.startsWith(`${m.connectionId}:`)) leaves.push([name, m.clientId, m.connectionId, String(i)]);
    });
    channel.on((x) => {
      if (x.current === 'attached' && !x.resumed) trouble.push(`ably-js ${i}: ${name} goes on without continuity: ${x.reason?.message}`);
      if (x.current === 'failed') trouble.push(`ably-js ${i}: ${name} failed: ${x.reason?.message}`);
    });
    say(name, 'enter', 'first');
  }
  await Promise.all(busy);
  const id = c.connection.id;
  c.connection.on('connected', () => {
    if (c.connection.id !== id) trouble.push(`ably-js ${i}: the connection was not resumed: ${c.connection.errorReason?.message}`);
  });
  return { c, way, means, busy, fickle, say };
}

const clients = await Promise.all(plan.ports.map((_, i) => client(i)));
const any = (list) => list[Math.floor(Math.random() * list.length)];

function stir() {
  const { means, say } = any(clients);
  const name = any(plan.channels);
  if (means[name] !== undefined && Math.random() < 0.2) say(name, 'leave');
  else say(name, means[name] === undefined ? 'enter' : 'update', String(Math.floor(Math.random() * 1000)));
}

async function look() {
  const answer = { means: {}, sees: [], steady: [] };
  try {
    await within(20000, Promise.all(clients.flatMap(({ busy }) => [...busy])));
    for (const { c } of clients) {
      const sees = {};
      for (const name of plan.channels) {
        const members = await within(20000, c.channels.get(name).presence.get());
        sees[name] = members.map((m) => `${m.clientId}@${m.connectionId}=${m.data ?? ''}`);
      }
      answer.sees.push(sees);
    }
  } catch (e) {
    trouble.push(`ably-js: ${e.message}`);
  }
  for (const name of plan.channels) {
    const present = clients.filter(({ means }) => means[name] !== undefined);
    answer.means[name] = present.map(({ c, means }) => `${c.auth.clientId}@${c.connection.id}=${means[name]}`);
    answer.steady.push(...present.filter(({ fickle }) => !fickle.has(name)).map(({ c }) => `${name} ${c.auth.clientId}@${c.connection.id}`));
  }
  process.stdout.write(JSON.stringify({ ...answer, leaves, trouble: trouble.slice(0, 20) }) + '\n');
  [leaves, trouble] = [[], []];
}

process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'stir') stir();
  if (line === 'look') await look();
  if (line === 'settle') clients.forEach(({ fickle }) => fickle.clear());
}
for (const { c, way } of clients) {
  c.close();
  way.close();
}
setTimeout(() => process.exit(0), 100);
