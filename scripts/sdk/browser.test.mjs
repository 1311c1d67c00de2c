// ably-js as browsers load it, in headless Chromium: heartbeats as messages, CORS on REST.
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { launchChromium } from './chromium.mjs';
import { start, key } from './server.mjs';

let cluster, browser, site, origin;
before(async () => {
  cluster = await start({ nodes: 2 });
  const sdk = await readFile(join(dirname(createRequire(import.meta.url).resolve('ably')), '..', 'build', 'ably.min.js'));
  site = createServer((req, res) => {
    if (req.url === '/ably.js') return res.setHeader('content-type', 'text/javascript').end(sdk);
    res.setHeader('content-type', 'text/html').end('<!doctype html><title>test</title><script src="/ably.js"></script>');
  });
  await new Promise((r) => site.listen(0, '127.0.0.1', r));
  origin = `http://127.0.0.1:${site.address().port}`;
  browser = await launchChromium();
});
after(async () => {
  await browser?.close();
  site?.close();
  await cluster?.stop();
});

for (const useBinaryProtocol of [false, true]) {
  test(`a page attaches, hears messages and occupancy, and reads over REST (${useBinaryProtocol ? 'binary' : 'JSON'})`, async () => {
    const page = await browser.context.newPage();
    await page.goto(origin);
    const seen = await page.evaluate(
      async ({ key, ports, useBinaryProtocol }) => {
        const options = (port) => ({ key, endpoint: '127.0.0.1', port, tls: false, useBinaryProtocol, transports: ['web_socket'] });
        const a = new Ably.Realtime(options(ports[0]));
        const b = new Ably.Realtime(options(ports[1]));
        const name = 'page:' + useBinaryProtocol;
        const heard = [];
        let done;
        const arrived = new Promise((r) => (done = r));
        await a.channels.get(name, { params: { occupancy: 'metrics' } }).subscribe((m) => {
          heard.push([m.name, m.data]);
          if (m.name === 'hello') done();
        });
        await b.channels.get(name).publish('hello', { from: 'b' });
        await arrived;
        const details = await new Ably.Rest(options(ports[1])).channels.get(name).status();
        await a.connection.ping();
        a.close();
        b.close();
        return { heard, details };
      },
      { key, ports: [cluster.port(0), cluster.port(1)], useBinaryProtocol },
    );
    await page.close();
    assert.deepEqual(seen.heard.at(-1), ['hello', { from: 'b' }]);
    assert.equal(seen.heard[0][0], '[meta]occupancy');
    assert.equal(seen.heard[0][1].metrics.connections, 1);
    assert.equal(seen.details.status.occupancy.metrics.subscribers, 1);
  });
}
