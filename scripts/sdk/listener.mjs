// Unmodified ably-js clients that subscribe to channels while nodes are killed, and tell what they heard.
// Usage: node listener.mjs '{"key": "…", "ports": [8080, …], "channels": ["talk:0", …]}'
// It says "ready" when all is attached. A line "end" on its standard input has it answer with one line
//   {"clients": [{"heard": {"talk:0": [[publisher, first, last], …]}}, …], "trouble": ["…"]}
// once nothing more arrives, and end.
import { createInterface } from 'node:readline';
import Ably from 'ably';
import { roundabout } from './roundabout.mjs';

const plan = JSON.parse(process.argv[2]);
const trouble = [];
let lastHeard = Date.now();

async function client(i) {
  const way = await roundabout(plan.ports, i);
  const c = new Ably.Realtime({
    key: plan.key, endpoint: '127.0.0.1', port: way.port, tls: false, logHandler: () => {}, useBinaryProtocol: i % 2 === 1,
    disconnectedRetryTimeout: 200, echoMessages: true,
  });
  const heard = {};
  await Promise.all(
    plan.channels.map(async (name) => {
      const runs = (heard[name] = []);
      const open = new Map(); // the run that goes on, by publisher
      const channel = c.channels.get(name);
      await channel.subscribe((m) => {
        lastHeard = Date.now();
        const [publisher, number] = m.data.split(':').map(Number);
        const run = open.get(publisher);
        if (run && run[2] + 1 === number) return void (run[2] = number);
        const next = [publisher, number, number];
        open.set(publisher, next);
        runs.push(next);
      });
      channel.on((x) => {
        if (x.current === 'attached' && !x.resumed) trouble.push(`ably-js ${i}: ${name} goes on without continuity: ${x.reason?.message}`);
        if (x.current === 'failed') trouble.push(`ably-js ${i}: ${name} failed: ${x.reason?.message}`);
      });
    }),
  );
  const id = c.connection.id;
  c.connection.on('connected', () => {
    if (c.connection.id !== id) trouble.push(`ably-js ${i}: the connection was not resumed: ${c.connection.errorReason?.message}`);
  });
  return { c, way, heard };
}

const clients = await Promise.all(plan.ports.map((_, i) => client(i)));
process.stdout.write('ready\n');
createInterface({ input: process.stdin }).once('line', async () => {
  while (Date.now() - lastHeard < 3000 || clients.some(({ c }) => c.connection.state !== 'connected')) await new Promise((r) => setTimeout(r, 100));
  process.stdout.write(JSON.stringify({ clients: clients.map(({ heard }) => ({ heard })), trouble: trouble.slice(0, 20) }) + '\n', () => {
    for (const { c, way } of clients) {
      c.close();
      way.close();
    }
    setTimeout(() => process.exit(0), 100);
  });
});
