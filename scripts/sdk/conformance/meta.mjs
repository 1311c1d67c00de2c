// Metachannels.
import { KEY, check, is, ok, refused, sleep, within } from './env.mjs';

// told repeats an act until one of them is heard of: what happens in the first moments of watching may not be told, and what
// is told may come late. isIt is asked whether a message is of one of the acts, by what they returned.
async function told(events, act, isIt) {
  const acts = [];
  const heard = events.until((m) => isIt(m, acts));
  heard.catch(() => {}); // told below
  for (let over = false; !over; ) {
    acts.push(await act());
    over = await Promise.race([heard.then(() => true), sleep(1000)]);
  }
  return heard;
}

export const metachannels = [
  check('8', '[meta]channel.lifecycle tells that a channel opened', async (e) => {
    const watchers = [];
    for (const node of [0, 1, 2]) watchers.push(await e.listen(await e.connect(node), '[meta]channel.lifecycle'));
    const name = e.name('life');
    await within((await e.connect(0)).channels.get(name).attach(), 'attached');
    for (const got of watchers) {
      const m = await got.until((x) => x.data.channelId === name);
      is([m.name, m.data.name, m.data.status.isActive], ['channel.opened', name, true]);
    }
  }),
  check('8', '[meta]connection.lifecycle and clientEvents tell of connections', async (e) => {
    for (const channel of ['[meta]connection.lifecycle', '[meta]clientEvents:connections']) {
      const got = await e.listen(await e.connect(0), channel);
      const visit = async () => {
        const c = await e.connect(1, { clientId: 'guest' });
        const { id } = c.connection;
        c.close();
        return id;
      };
      const m = await told(got, visit, (x, ids) => ids.includes(x.data.connectionId) && x.name === 'connection.opened');
      ok(!JSON.stringify(m.data).includes(e.app.keys[0].keySecret), 'no secret');
      is((await got.until((x) => x.data.connectionId === m.data.connectionId)).name, 'connection.closed');
    }
  }),
  check('8', '[meta]clientEvents:apiRequests tells of requests', async (e) => {
    const got = await e.listen(await e.connect(0), '[meta]clientEvents:apiRequests');
    const name = e.name('asked');
    const m = await told(got, () => e.rest(1).channels.get(name).publish('x', 'y'), (x) => x.data.channels?.includes(name));
    is([m.name, m.data.method, m.data.pathPattern], ['request.succeeded', 'POST', '/channels/:channelId/messages']);
  }),
  check('8', 'nobody writes to them, and they can be subscribed to only', async (e) => {
    const ch = (await e.connect(0)).channels.get('[meta]channel.lifecycle');
    await within(ch.attach(), 'attached');
    is(ch.modes, ['subscribe']);
    await refused(ch.publish('x', 'y'), 40160);
    await refused(e.rest(1).channels.get('[meta]log').publish('x', 'y'), 40160);
  }),
  check('8', 'a capability has to name them', async (e) => {
    const ch = (await e.connect(0, { key: e.key(KEY.plain) })).channels.get('[meta]connection.lifecycle');
    await refused(ch.attach(), 40160);
    for (const resource of ['[meta]*', '[meta]connection.lifecycle', '[*]*']) {
      const token = await e.jwt(KEY.all, { 'x-ably-capability': JSON.stringify({ [resource]: ['subscribe'] }) });
      await within((await e.connect(1, { token })).channels.get('[meta]connection.lifecycle').attach(), `attached by ${resource}`);
    }
  }),
  check('8', 'one that there is not', async (e) => {
    await refused((await e.connect(0)).channels.get('[meta]nothing').attach(), 40010);
  }),
];
