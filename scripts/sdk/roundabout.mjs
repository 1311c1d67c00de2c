// A TCP proxy between a client, which knows one address, and nodes of which some may be down: what a load balancer does.
import { connect, createServer } from 'node:net';
import { once } from 'node:events';

// roundabout leads each connection to the first of the ports that takes it, beginning with the one at place first.
export async function roundabout(ports, first = 0) {
  const sockets = new Set();
  const keep = (s) => {
    sockets.add(s);
    s.on('error', () => {});
    s.on('close', () => sockets.delete(s));
  };
  const server = createServer((client) => {
    keep(client);
    const attempt = (i) => {
      if (i === ports.length || client.destroyed) return client.destroy();
      const node = connect(ports[(first + i) % ports.length], '127.0.0.1');
      keep(node);
      let through = false;
      node.once('connect', () => {
        through = true;
        client.pipe(node).pipe(client);
        client.once('close', () => node.destroy());
      });
      node.once('close', () => (through ? client.destroy() : attempt(i + 1)));
    };
    attempt(0);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: server.address().port,
    close() {
      sockets.forEach((s) => s.destroy());
      server.close();
    },
  };
}
