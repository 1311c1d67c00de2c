// The conformance checks with ably-js, unmodified: in Node and in headless Chromium, in both formats, on one node and on
// three with the clients of each check spread over them. What SDKs hide is checked by cmd/conformance.
import { test, before, after, describe } from 'node:test';
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { readFile, readdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import Ably from 'ably';
import vcdiff from '@ably/vcdiff-decoder';
import { start } from './server.mjs';
import { launchChromium } from './chromium.mjs';
import { checks } from './conformance/checks.mjs';
import { Env, runAll, setup } from './conformance/env.mjs';

const wanted = process.env.CHECK ? new RegExp(process.env.CHECK) : /./;
const title = (c) => `§${c.section} ${c.name}`;
const chosen = checks.filter((c) => wanted.test(title(c)));
assert.equal(new Set(checks.map(title)).size, checks.length, 'two checks have one name');

// atOnce bounds how many checks of a column run at the same time; most of their time they wait.
const atOnce = 6;

// outcomes are promises, one per check, that a run settles.
function outcomes() {
  const settle = [];
  const all = chosen.map(() => new Promise((r) => settle.push(r)));
  return { all, settle };
}

// column registers a test per check; each waits for what a run says of it.
function column(name, run) {
  describe(name, { concurrency: true }, () => {
    const { all, settle } = outcomes();
    let running;
    before(() => {
      running = run((i, failed) => settle[i](failed)).catch((err) => settle.forEach((s) => s(`the run ended: ${err.stack ?? err}`)));
    });
    after(() => running);
    for (const [i, c] of chosen.entries()) test(title(c), async () => assert.ok(!(await all[i]), await all[i]));
  });
}

for (const nodes of [1, 3]) {
  describe(`${nodes} node${nodes > 1 ? 's' : ''}`, () => {
    let cluster, app, ports;
    before(async () => {
      cluster = await start({ nodes });
      ports = Array.from({ length: nodes }, (_, i) => cluster.port(i));
      const r = await fetch(cluster.url(0) + '/apps', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(setup) });
      assert.equal(r.status, 201);
      app = await r.json();
    });
    after(async () => assert.equal(await cluster?.stop(), 0, 'innkeeper dev stops cleanly on SIGTERM'));

    for (const format of ['json', 'msgpack'])
      column(`Node, ${format}`, (tell) => runAll(chosen, () => new Env({ Ably, vcdiff, ports, app, format, place: 'node' }), atOnce, tell));

    describe('Chromium', () => {
      let browser, site;
      before(async () => {
        const here = import.meta.dirname;
        const files = {
          '/ably.js': await readFile(join(dirname(createRequire(import.meta.url).resolve('ably')), '..', 'build', 'ably.min.js')),
          '/vcdiff.js': await readFile(join(dirname(createRequire(import.meta.url).resolve('@ably/vcdiff-decoder')), '..', '..', 'dist', 'vcdiff-decoder.min.js')),
        };
        for (const name of await readdir(join(here, 'conformance'))) files['/' + name] = await readFile(join(here, 'conformance', name));
        site = createServer((req, res) => {
          const file = files[req.url];
          res.setHeader('content-type', file ? 'text/javascript' : 'text/html');
          res.end(file ?? '<!doctype html><title>conformance</title><script src="/ably.js"></script><script src="/vcdiff.js"></script>');
        });
        await new Promise((r) => site.listen(0, '127.0.0.1', r));
        browser = await launchChromium();
      });
      after(async () => {
        await browser?.close();
        site?.close();
      });
      for (const format of ['json', 'msgpack'])
        column(format, async (tell) => {
          const page = await browser.context.newPage();
          await page.goto(`http://127.0.0.1:${site.address().port}/`);
          await page.exposeFunction('tell', tell);
          await page.evaluate(
            async ({ ports, app, format, titles, atOnce }) => {
              const [{ checks }, { Env, runAll }] = [await import('/checks.mjs'), await import('/env.mjs')];
              const chosen = titles.map((t) => checks.find((c) => `§${c.section} ${c.name}` === t));
              await runAll(chosen, () => new Env({ Ably, vcdiff: vcdiffDecoder, ports, app, format, place: 'page' }), atOnce, (i, failed) => window.tell(i, failed));
            },
            { ports, app, format, titles: chosen.map(title), atOnce },
          );
          await page.close();
        });
    });
  });
}
