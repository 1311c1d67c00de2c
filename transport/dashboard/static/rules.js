// How each rule's deliveries fare.
import { $, el, name, say, sync } from './dom.js';
import { letter } from './cluster.js';
import { count, span, when } from './format.js';

const figures = [
  ['Lag', (r) => `${count(r.lag)} ${r.lag === 1 ? 'event' : 'events'}`],
  ['Oldest waits', (r) => (r.leading ? span(r.lag_seconds) : '–')],
  ['Delivered', (r) => count(r.sent)],
  ['Done up to seq', (r) => count(r.cursor)],
  ['Requests', (r) => count(r.attempts)],
  ['Failed', (r) => count(r.failures)],
  ['In flight', (r) => count(r.in_flight)],
  ['Lost to retention', (r) => count(r.skipped)],
];

function judge(r) {
  if (r.in_backoff) return ['bad', 'failing, tries again'];
  if (!r.leading) return ['warn', 'nobody sends now'];
  if (r.lag_seconds > 5) return ['warn', 'behind'];
  return ['good', 'up to date'];
}

export function showRules(summary) {
  const status = summary.rules ?? { rules: [] };
  const rules = (status.rules ?? []).map((r) => ({ ...r, leading: status.leading }));
  say($('deliveries-state'), !rules.length ? 'No rules are configured: events are only kept for those who read them at /events. Rules are in the configuration, at apps[].rules.'
    : status.leading ? `Node ${letter(summary.rules_from)} sends; counters are since it began to.`
      : 'The node that sends does not answer, or there is none; lag is as this node knows it.');
  sync($('rules'), rules, (r) => JSON.stringify([r.app, r.rule]),
    (r) => el('div', { class: 'rule' },
      el('h3', {}, el('span', {}, name(r.rule), ' of ', name(r.app), ` (${r.format})`), el('span')),
      el('dl', {}, ...figures.map(([label]) => el('div', {}, el('dt', {}, label), el('dd')))),
      el('p', { class: 'note' })),
    (node, r) => {
      const [head, list, error] = node.children;
      const [cls, text] = judge(r);
      say(head.lastChild, text, `state ${cls}`);
      figures.forEach(([, get], i) => say(list.children[i].lastChild, get(r)));
      const kinds = Object.entries(r.failures_by_kind ?? {}).filter(([, n]) => n).map(([k, n]) => `${k} ${count(n)}`).join(', ');
      say(error, r.last_error ? `Last error, ${when(Date.parse(r.last_error_time))}: ${r.last_error}${kinds ? `. Failures by kind: ${kinds}.` : ''}` : 'No errors.', r.in_backoff ? 'note error' : 'note');
    });
}
