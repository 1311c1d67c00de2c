// Connections and message rates, by node.
import { $, cells, el, sync } from './dom.js';
import { nodeCell } from './cluster.js';
import { count, rate } from './format.js';

const gauges = ['connections', 'attachments', 'channels_open'];
const rates = ['messages_in', 'messages_out', 'connects'];
const sums = ['nacks', 'mailbox_full', 'outbox_full'];

const texts = (f, r) => [...gauges.map((k) => count(f?.[k])), ...rates.map((k) => rate(r?.[k])), ...sums.map((k) => count(f?.[k]))];
const row = (...head) => el('tr', {}, el('th', { scope: 'row' }, ...head), ...texts().map(() => el('td', { class: 'number' })));

export function showTraffic({ live, total, byBoot }) {
  sync($('traffic-rows'), live.length ? live : [null], (m) => m?.boot ?? 'none',
    (m) => (m ? row(nodeCell(m.node)) : el('tr', {}, el('td', { colspan: 10, class: 'empty' }, 'No members yet.'))),
    (node, m) => m && cells(node, 1, texts(m.figures, byBoot.get(m.boot))));
  sync($('traffic-total'), live.length > 1 ? [total] : [], () => 'total', () => row('Cluster'), (node, t) => cells(node, 1, texts(t, t)));
}
