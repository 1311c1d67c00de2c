// The stream of events, newest first.
import { $, el, name, say, sync, visible } from './dom.js';
import { channelLink } from './channels.js';
import { count, when } from './format.js';

const keep = 500; // events remembered
const show = 100; // rows

export function events() {
  let all = []; // newest first
  let skipped = 0, held = 0, paused = false;
  const body = $('event-table').tBodies[0];

  function render() {
    const prefix = $('event-filter').value;
    const wanted = prefix ? all.filter((e) => e.channel.startsWith(prefix)) : all;
    const rows = wanted.slice(0, show);
    sync(body, rows.length ? rows : [null], (e) => e?.seq ?? 'none', (e) =>
      e ? el('tr', {}, el('td', {}, when(e.time_ms)), el('td', { class: e.type }, e.type), el('td', {}, e.note ? visible(e.note) : channelLink(e.app, e.channel)), el('td', {}, name(e.app)), el('td', { class: 'number' }, e.seq))
        : el('tr', {}, el('td', { colspan: 5, class: 'empty' }, prefix && all.length ? `None of the last ${count(all.length)} events match.` : 'No channel has been occupied or vacated yet.')));
    say($('events-state'), [
      rows.length > 0 && `The newest ${count(rows.length)} ${prefix ? 'that match' : 'of all apps'}.`,
      paused && `Paused; ${count(held)} came since.`,
      skipped && `${count(skipped)} came too fast to be shown; read them at /events.`,
    ].filter(Boolean).join(' '));
  }

  const press = (button, fn) => button.addEventListener('click', () => {
    const on = button.getAttribute('aria-pressed') !== 'true';
    button.setAttribute('aria-pressed', String(on));
    fn(on);
  });
  press($('event-pause'), (on) => { paused = on; held = 0; render(); });
  press($('event-announce'), (on) => body.setAttribute('aria-live', on ? 'polite' : 'off'));
  $('event-filter').addEventListener('input', render);
  render();

  return (news) => {
    if (news.events[0].seq <= (all[0]?.seq ?? 0)) all = []; // another cluster's, or told again
    all = [...news.events.toReversed(), ...all].slice(0, keep);
    skipped += all.length > news.events.length ? news.skipped : 0; // what was before this page is not missing
    if (paused) {
      held += news.events.length + news.skipped;
      say($('events-state'), `Paused; ${count(held)} came since.`);
    } else render();
  };
}
