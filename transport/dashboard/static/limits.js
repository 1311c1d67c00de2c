// How limits stand.
import { $, cells, el, name, say, sync } from './dom.js';
import { count, when } from './format.js';

const states = { calm: ['good', 'within'], approaching: ['warn', 'approaching'], exceeded: ['bad', 'exceeded'] };

export function showLimits(summary) {
  const list = summary.limits ?? [];
  const met = list.filter((l) => l.level !== 'calm').length;
  say($('limits-state'), !list.length ? 'No limits are set. “innkeeper limits update” sets them while the cluster runs.'
    : `${count(list.length)} ${list.length === 1 ? 'limit is' : 'limits are'} set, ${met ? count(met) : 'none'} approached or exceeded. Of limits of one channel, connection or publish it is told how often they were met in the last second.`);
  sync($('limits-rows'), list.length ? list : [null], (l) => (l ? JSON.stringify([l.scope, l.id, l.limit]) : 'none'), (l) =>
    l ? el('tr', {}, el('td', {}, `${l.scope} `, name(l.id)), el('td', {}, `${l.limit}: ${l.unit}`), ...Array.from({ length: 3 }, () => el('td', { class: 'number' })), el('td', {}, el('span')))
      : el('tr', {}, el('td', { colspan: 6, class: 'empty' }, 'No limits.')),
    (row, l) => {
      if (!l) return;
      cells(row, 2, [count(l.value), l.soft ? count(l.soft) : '–', l.hard ? count(l.hard) : '–']);
      const [cls, text] = states[l.level] ?? ['warn', l.level];
      say(row.lastChild.firstChild, l.level !== 'calm' && l.since_ms ? `${text} since ${when(l.since_ms)}` : text, `state ${cls}`);
    });
}
