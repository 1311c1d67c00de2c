// The page: one stream of summaries for most of it, and the channels by request.
import { $, el, say, sync } from './dom.js';
import { chart } from './chart.js';
import { channels, drill } from './channels.js';
import { letter, showCluster } from './cluster.js';
import { events } from './events.js';
import { clock, count, rate, span as duration } from './format.js';
import { showHistory } from './history.js';
import { showLimits } from './limits.js';
import { follow } from './live.js';
import { showRules } from './rules.js';
import { memory, span } from './series.js';
import { showTraffic } from './traffic.js';

const past = memory();
const told = events();
channels();
drill();
showHistory();

const charts = [
  [chart({ title: 'Channels', unit: 'open', series: ['open'], span, whole: true }), ['channels_open']],
  [chart({ title: 'Connections', unit: 'open', series: ['connections'], span, whole: true }), ['connections']],
  [chart({ title: 'Messages', unit: 'per second', series: ['published', 'delivered'], span, whole: false }), ['messages_in', 'messages_out']],
];
$('charts').append(...charts.map(([c]) => c.figure));

let problems = []; // of the last summary
let connection = { state: 'connecting' }, heard = 0;

function tiles(summary, { live, total }) {
  const answering = live.filter((m) => m.figures).length;
  const known = new Set(summary.members.map((m) => m.node)).size;
  const dead = summary.members.filter((m) => m.state === 'dead' && !live.some((l) => l.node === m.node)).length;
  const rules = summary.rules?.rules ?? [];
  const worst = rules.reduce((a, r) => (!a || r.lag_seconds > a.lag_seconds ? r : a), null);
  const list = [
    ['Nodes answering', `${answering} of ${known}`, dead && `${dead} dead`],
    ['Leader', summary.leader ? letter(summary.leader) : 'none', summary.leader && `term ${summary.term}`],
    ['Open channels', count(total.channels_open)],
    ['Occupied', count(summary.occupied), summary.stale && 'may be old'],
    ['Connections', count(total.connections)],
    ['Messages in', rate(total.messages_in), 'per s'],
    ['Deliveries', rate(total.messages_out), 'per s'],
    ['Longest wait', worst ? duration(worst.lag_seconds) : '–', rules.length ? `${rules.length} ${rules.length === 1 ? 'rule' : 'rules'}` : 'no rules'],
  ];
  sync($('tiles'), list, ([label]) => label, ([label]) => el('div', {}, el('dt', {}, label), el('dd', {}, el('span'), ' ', el('small'))), (node, [, value, more]) => {
    say(node.lastChild.children[0], value);
    say(node.lastChild.children[1], more || '');
  });
}

function notices() {
  const list = [...problems];
  if (connection.state === 'lost') {
    const wait = Math.max(0, Math.ceil((connection.again - Date.now()) / 1000));
    list.unshift(['error', `No connection: ${connection.reason}. ${heard ? `Figures are of ${clock(heard)}. ` : ''}Trying again${wait ? ` in ${wait} s` : ''}…`]);
  }
  sync($('notices'), list, ([, text], i) => text, ([cls, text]) => el('p', { class: `notice ${cls}` }, text));
}

function summary(s) {
  heard = Date.now();
  const sums = past.take(s);
  showCluster(s);
  tiles(s, sums);
  showTraffic(sums);
  showRules(s);
  showLimits(s);
  for (const [c, keys] of charts) c.draw(past.of(...keys), s.time_ms);
  say($('chart-note'), `Sums over all ${sums.live.length === 1 ? 'nodes (one)' : `${sums.live.length} nodes`}, sampled once a second since this page was opened; the dot is the highest sample. A line is broken where a node did not answer.`);
  problems = [];
  if (s.not_ready.length) problems.push(['', `This node is not ready: ${s.not_ready.join('; ')}.`]);
  if (s.stale) problems.push(['', `Members, partitions, occupied channels, events, rules and limits are shown as this node has them, and may be old: ${s.stale}.`]);
  if (sums.silent.length) problems.push(['', `No figures from ${sums.silent.map((m) => `node ${letter(m.node)}`).join(', ')}: sums over the cluster are not shown.`]);
  say($('about'), `Node ${s.node}, cluster ${s.cluster_id || 'not founded'}, version ${s.version || 'unknown'}, events ${s.first_seq}–${s.last_seq}.`);
  document.title = sums.total.channels_open === null ? 'Innkeeper' : `${count(sums.total.channels_open)} open · Innkeeper`;
  notices();
}

function state(next) {
  connection = next;
  const texts = { connecting: 'Connecting…', live: 'Live', lost: 'No connection' };
  $('connection').dataset.state = next.state;
  say($('connection'), texts[next.state]);
  document.body.classList.toggle('stale', next.state === 'lost');
  notices();
}
setInterval(() => connection.state === 'lost' && notices(), 1000); // counts down

follow('../live', { summary, events: told, state });
