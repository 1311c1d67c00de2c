// Unmodified ably-js clients that come, go and move between nodes, and write down what they see as JSON lines:
//   {"at": ms, "client": "js0", "node": "n1", "channel": "c:1", "what": "asked" | "confirmed" | "left"}
// Usage: node flapper.mjs '{"seed": 1, "clients": 6, "key": "…", "nodes": [{"name": "n1", "host": "…", "port": 8080}], "channels": ["c:1", …]}'
// A line "calm" on its standard input tells it to change nothing any more: the clients with an even number keep what they
// hold, the others leave. It ends with its input.
import Ably from 'ably';

const plan = JSON.parse(process.argv[2]);

// A small generator, so that a seed says what the clients want; what they get also depends on the cluster.
let state = plan.seed >>> 0 || 1;
function random(n) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % n;
}

let calm = false;
const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
const say = (client, node, channel, what, at = Date.now()) => process.stdout.write(JSON.stringify({ at, client, node, channel, what }) + '\n');

// One life of a client: connected to one node, until it has had enough or lost the node for three seconds.
async function life(id, channels, stays) {
  const node = plan.nodes[random(plan.nodes.length)];
  const client = new Ably.Realtime({
    key: plan.key, endpoint: node.host, port: node.port, tls: false, logLevel: 0,
    disconnectedRetryTimeout: 500, fallbackHosts: [], transports: ['web_socket'],
  });
  const open = new Set(); // channels asked for and not left, as this client believes
  const left = (name) => open.delete(name) && say(id, node.name, name, 'left');
  const asked = (name, at) => {
    left(name);
    open.add(name);
    say(id, node.name, name, 'asked', at);
  };
  let lostAt = Date.now();
  let triedAt = lostAt; // when the connection that there is, or may be, was begun
  client.connection.on((change) => {
    if (change.current === 'connected') lostAt = 0;
    else {
      lostAt ||= Date.now();
      if (change.current === 'connecting') triedAt = Date.now();
      for (const name of [...open]) left(name);
    }
  });
  let doubted = false; // it is not known whether a channel is still held: only the end of the connection tells
  const used = new Map();
  const channel = (name) => {
    if (!used.has(name)) {
      const c = client.channels.get(name);
      c.on((change) => {
        if (change.current === 'attaching') asked(name);
        else if (change.current === 'attached' && change.previous === 'detaching') doubted = true; // no answer to DETACH
        else if (change.current === 'attached') {
          // One that was being attached when the connection was lost is asked for again without a change of state.
          if (!open.has(name)) asked(name, triedAt);
          say(id, node.name, name, 'confirmed');
        } else left(name);
      });
      used.set(name, c);
    }
    return used.get(name);
  };
  const until = Date.now() + 5000 + random(25000);
  while (!calm && !doubted && Date.now() < until && !(lostAt && Date.now() - lostAt > 3000)) {
    await sleep(100 + random(900));
    if (client.connection.state !== 'connected') continue;
    const c = channel(channels[random(channels.length)]);
    if (c.state === 'attached') {
      left(c.name);
      c.detach().catch(() => {});
    } else if (c.state !== 'attaching' && c.state !== 'detaching') {
      c.attach().catch(() => {});
    }
  }
  if (calm && stays && !doubted) return;
  for (const name of [...open]) left(name);
  client.close();
}

async function clientOf(i) {
  const mine = plan.channels.filter((_, k) => k % plan.clients === i);
  while (!calm) {
    await life(`js${i}`, mine, i % 2 === 0);
    await sleep(random(3000));
  }
}

process.on('uncaughtException', (e) => process.stderr.write(`${e.stack}\n`));
process.on('unhandledRejection', (e) => process.stderr.write(`${e?.stack ?? e}\n`));
process.stdin.on('data', () => (calm = true));
process.stdin.on('end', () => process.exit(0));
for (let i = 0; i < plan.clients; i++) clientOf(i);
