// Open channels, a page at a time, and one channel closely.
import { $, cells, el, name, say, sync, visible } from './dom.js';
import { count, span, when } from './format.js';

const pageSize = 25;
const patience = 15_000; // ms for one answer
const pause = 2000; // ms between two readings of a page, at least; ten times what a reading takes, if that is longer

const columns = ['connections', 'publishers', 'subscribers', 'presenceConnections', 'presenceMembers', 'presenceSubscribers', 'objectPublishers', 'objectSubscribers'];

// read fetches JSON; errors say what the server says.
export async function read(url, signal) {
  const r = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(patience)]), headers: { accept: 'application/json' } });
  const body = await r.json().catch(() => null);
  if (!r.ok || !body) throw new Error(body?.error?.message ?? `the node answers ${r.status}`);
  return body;
}

const key = (c) => JSON.stringify([c.app, c.channel]);
export const channelLink = (app, channel) => el('button', { type: 'button', class: 'link name', 'aria-haspopup': 'dialog', onclick: () => openChannel(app, channel) }, visible(channel));

export function channels() {
  const form = $('search');
  let cursors = [''], at = 0, timer, running, typed;

  async function load(fresh) {
    clearTimeout(timer);
    running?.abort();
    const mine = (running = new AbortController());
    const ask = new URLSearchParams({ limit: pageSize });
    const prefix = form.elements.prefix.value, app = form.elements.app.value;
    if (prefix) ask.set('prefix', prefix);
    if (app) ask.set('app', app);
    if (cursors[at]) ask.set('cursor', cursors[at]);
    const table = $('channel-table');
    if (fresh) {
      table.setAttribute('aria-busy', 'true');
      say($('channels-state'), 'Loading…', 'note');
    }
    const began = performance.now();
    try {
      const page = await read(`../channels?${ask}`, mine.signal);
      if (running !== mine) return;
      show(page, prefix, app);
    } catch (e) {
      if (running !== mine) return;
      say($('channels-state'), `The channels cannot be listed: ${e.message}. Trying again…`, 'note error');
    }
    table.removeAttribute('aria-busy');
    timer = setTimeout(again, Math.max(pause, 10 * (performance.now() - began)));
  }
  const again = () => (document.hidden ? (timer = setTimeout(again, pause)) : load(false));

  function show(page, prefix, app) {
    cursors.length = at + 1;
    if (page.next) cursors.push(page.next);
    const what = [prefix && `beginning with “${visible(prefix)}”`, app && `of app “${visible(app)}”`].filter(Boolean).join(' ');
    const n = page.channels.length;
    const more = at > 0 || page.next;
    let text = `${count(n)} open ${n === 1 ? 'channel' : 'channels'} ${what}`.trim() + (more ? ' on this page; pages follow the channels’ hashes, not their names.' : '.');
    if (!n) text = at > 0 ? 'Nothing is left on this page.' : `There are no open channels ${what}`.trim() + '.';
    say($('channels-state'), text, 'note');
    say($('page'), `Page ${count(at + 1)}`);
    $('previous').disabled = at === 0;
    $('next').disabled = !page.next;
    sync($('channel-table').tBodies[0], page.channels, key,
      (c) => el('tr', {}, el('td', {}, channelLink(c.app, c.channel)), el('td', {}, name(c.app)), ...columns.map(() => el('td', { class: 'number' }))),
      (row, c) => cells(row, 2, columns.map((k) => count(c.occupancy[k]))));
  }

  const search = () => {
    clearTimeout(typed);
    cursors = [''];
    at = 0;
    load(true);
  };
  form.addEventListener('submit', (e) => { e.preventDefault(); search(); });
  form.addEventListener('input', () => { clearTimeout(typed); typed = setTimeout(search, 250); });
  $('previous').addEventListener('click', () => { if (at > 0) at--; load(true); });
  $('next').addEventListener('click', () => { if (at + 1 < cursors.length) at++; load(true); });
  load(true);
}

// One channel.

const marker = '#channel?';
const labels = ['Connections', 'Publishers', 'Subscribers', 'Presence connections', 'Presence members', 'Presence subscribers', 'Object publishers', 'Object subscribers'];

export function openChannel(app, channel) {
  location.hash = marker + new URLSearchParams({ app, channel });
}

export function drill() {
  const dialog = $('drill');
  let shown = null, timer, running;

  async function load() {
    const mine = (running = new AbortController());
    const { app, channel } = shown;
    try {
      const c = await read(`../channel?${new URLSearchParams({ app, channel })}`, mine.signal);
      if (running !== mine) return;
      show(c);
    } catch (e) {
      if (running !== mine) return;
      say($('drill-state'), `The channel cannot be read: ${e.message}. Trying again…`, 'note error');
    }
    timer = setTimeout(load, pause);
  }

  function show(c) {
    const last = c.events[0];
    const held = last?.type === 'occupied' ? `, occupied for ${span(Math.max(0, Date.now() - last.time_ms) / 1000)}` : last ? ', vacant' : '';
    say($('drill-state'), `App ${visible(c.app)}: ${c.open ? 'open' : 'not open'}${held}`, 'note');
    sync($('drill-counts'), columns, (k) => k, (k) => el('div', {}, el('dt', {}, labels[columns.indexOf(k)]), el('dd')), (n, k) => say(n.lastChild, count(c.occupancy[k])));
    holders(c.holders);
    sync($('drill-events'), c.events.length ? c.events : [null], (e) => e?.seq ?? 'none', (e) =>
      e ? el('tr', {}, el('td', {}, when(e.time_ms)), el('td', { class: e.type }, e.type), el('td', { class: 'number' }, e.seq), el('td', { class: 'number' }, e.ends ?? ''))
        : el('tr', {}, el('td', { colspan: 4, class: 'empty' }, 'No events of this channel.')));
    say($('drill-since'), `Looked through all events from seq ${c.since} on.`);
  }

  // Who is attached, and who is present.
  function holders(h) {
    if (!h) return;
    const silent = h.silent.length ? ` Not heard of: ${h.silent.join(', ')}.` : '';
    const some = h.attached > h.attachments.length ? ` The first ${count(h.attachments.length)} are shown.` : '';
    say($('drill-attached'), `${count(h.attached)} ${h.attached === 1 ? 'attachment' : 'attachments'}.${some}${silent}`);
    sync($('drill-attachments'), h.attachments.length ? h.attachments : [null], (a) => (a ? `${a.node} ${a.connection} ${a.as ?? ''}` : 'none'), (a) =>
      a ? el('tr', {}, el('td', {}, name(a.client_id || '–')), el('td', {}, name(a.connection)), el('td', {}, a.node), el('td', {}), el('td', {}, when(a.since_ms)), el('td', {}, name(a.remote)))
        : el('tr', {}, el('td', { colspan: 6, class: 'empty' }, 'Nobody is attached.')),
      (row, a) => a && cells(row, 3, [(a.attached ? '' : 'attaching: ') + a.modes.replaceAll(',', ', ') + (a.as ? ` as ${visible(a.as)}` : '')]));
    say($('drill-present-note'), h.unknown ? `Who is present cannot be told: ${h.unknown}.` : h.more ? `The first ${count(h.present.length)} members.` : `${count(h.present.length)} ${h.present.length === 1 ? 'member' : 'members'}.`);
    sync($('drill-present'), h.present.length ? h.present : [null], (m) => (m ? `${m.connection} ${m.client_id}` : 'none'), (m) =>
      m ? el('tr', {}, el('td', {}, name(m.client_id)), el('td', {}, name(m.connection)), el('td', {}), el('td', { class: 'data' }))
        : el('tr', {}, el('td', { colspan: 4, class: 'empty' }, 'Nobody is present.')),
      (row, m) => m && cells(row, 2, [when(m.since_ms), visible(m.data ?? '')]));
  }

  function follow() {
    clearTimeout(timer);
    running?.abort();
    running = null;
    const ask = location.hash.startsWith(marker) ? new URLSearchParams(location.hash.slice(marker.length)) : null;
    shown = ask?.get('app') && ask.get('channel') ? { app: ask.get('app'), channel: ask.get('channel') } : null;
    if (!shown) return dialog.close();
    $('drill-title').replaceChildren(name(shown.channel));
    say($('drill-state'), 'Loading…', 'note');
    for (const id of ['drill-counts', 'drill-attachments', 'drill-present', 'drill-events']) $(id).replaceChildren();
    for (const id of ['drill-since', 'drill-attached', 'drill-present-note']) say($(id), '');
    if (!dialog.open) dialog.showModal();
    load();
  }
  window.addEventListener('hashchange', follow);
  dialog.addEventListener('close', () => { if (shown) history.replaceState(null, '', '#'); shown = null; clearTimeout(timer); running?.abort(); running = null; });
  dialog.addEventListener('click', (e) => { if (e.target === dialog) dialog.close(); });
  $('drill-close').addEventListener('click', () => dialog.close());
  follow();
}
