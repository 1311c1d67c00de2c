// Members, partitions by owner, and their moves.
import { $, cells, el, say, sync } from './dom.js';
import { clock, count, none, span } from './format.js';

const letters = new Map(); // node id → A, B, …: given at first sight, kept while the page lives
const freshFor = 20_000; // ms that a moved partition is marked
const keep = 40; // lines of moves

export function letter(node) {
  if (!node) return none;
  if (!letters.has(node)) {
    const i = letters.size;
    letters.set(node, i < 26 ? String.fromCharCode(65 + i) : `${String.fromCharCode(64 + Math.floor(i / 26))}${String.fromCharCode(65 + (i % 26))}`);
  }
  return letters.get(node);
}
const tint = (node) => `m${[...letters.keys()].indexOf(node) % 8}`;

export const badge = (node) => el('span', { class: `badge ${node ? (letter(node), tint(node)) : ''}`, title: node || 'nobody' }, letter(node));
export const nodeCell = (node) => [badge(node), el('span', { class: 'id' }, node)];

const states = { alive: 'good', leaving: 'warn', joining: 'warn', dead: 'bad' };
const links = { self: 'good', up: 'good', down: 'bad', refused: 'bad' };

let before = null; // owners and epochs of the last summary
let moves = []; // newest first: {key, t, from, to, parts}
const moved = new Map(); // partition → time

export function showCluster(summary) {
  const members = [...summary.members].sort((a, b) => (a.node < b.node ? -1 : a.node > b.node ? 1 : 0));
  members.forEach((m) => letter(m.node));
  sync($('members'), members, (m) => `${m.node}/${m.boot}`, memberRow, (row, m) => updateMember(row, m, summary));
  const p = summary.partitions;
  notice(p, summary.time_ms);
  const dead = new Set(summary.members.filter((m) => m.state === 'dead').map((m) => m.node));
  const live = new Set(summary.members.filter((m) => m.state !== 'dead').map((m) => m.node));
  showPartitions(p, (node) => !node || (dead.has(node) && !live.has(node)), summary.time_ms);
  showMoves();
}

const memberRow = (m) => el('tr', {}, el('th', { scope: 'row' }, nodeCell(m.node)), el('td', {}, el('span')), el('td'), el('td', { class: 'number' }), el('td', { class: 'number' }), el('td', {}, el('span')), el('td', { class: 'id' }), el('td', { class: 'id' }, m.boot));

function updateMember(row, m, summary) {
  const [, state, role, owned, age, link, client] = row.children;
  const silent = (m.state === 'alive' || m.state === 'leaving') && !m.figures;
  say(state.firstChild, silent ? `${m.state}, silent` : m.state, `state ${silent ? 'warn' : states[m.state] ?? ''}`);
  say(role, [m.node === summary.leader && m.state !== 'dead' && 'leader', m.voter ? 'voter' : 'no vote', m.node === summary.node && 'this page'].filter(Boolean).join(', '));
  say(owned, count(m.partitions_owned));
  say(age, m.lease_age_ms === undefined || m.state === 'dead' ? none : span(m.lease_age_ms / 1000));
  say(link.firstChild, m.state === 'dead' ? none : m.link, m.state === 'dead' ? '' : `state ${links[m.link] ?? ''}`);
  say(client, m.client_addr || none);
}

// notice compares the placement with the last one and remembers what moved.
function notice(p, t) {
  const owners = p.owners.map((i) => (i < 0 ? '' : p.nodes[i]));
  if (before?.length === owners.length) {
    const groups = new Map();
    owners.forEach((to, part) => {
      const from = before[part];
      if (from === to) return;
      moved.set(part, t);
      const k = `${from} ${to}`;
      if (!groups.has(k)) groups.set(k, { key: `${t} ${k}`, t, from, to, parts: [] });
      groups.get(k).parts.push(part);
    });
    moves = [...groups.values(), ...moves].slice(0, keep);
  }
  before = owners;
}

function showPartitions(p, gone, t) {
  const grid = $('partitions');
  sync(grid, [...p.owners.keys()], (i) => i, () => el('span'));
  let fresh = 0, away = 0;
  [...grid.children].forEach((cell, i) => {
    const owner = p.owners[i] < 0 ? '' : p.nodes[p.owners[i]];
    const follower = p.followers[i] < 0 ? '' : p.nodes[p.followers[i]];
    const isFresh = t - (moved.get(i) ?? -Infinity) < freshFor;
    const isGone = gone(owner);
    fresh += isFresh;
    away += isGone;
    say(cell, letter(owner), `${owner ? tint(owner) : ''}${isGone ? ' gone' : ''}${isFresh ? ' moved' : ''}`.trim());
    const title = `Partition ${i}: owner ${owner || 'none'}, follower ${follower || 'none'}, epoch ${p.epochs[i]}`;
    if (cell.title !== title) cell.title = title;
  });
  const share = new Map();
  p.owners.forEach((o) => share.set(o, (share.get(o) ?? 0) + 1));
  const text = [...share].sort((a, b) => b[1] - a[1]).map(([o, n]) => `${o < 0 ? 'nobody' : letter(p.nodes[o])} ${n}`).join(', ');
  const label = p.owners.length ? `${p.owners.length} partitions: ${text}` : 'No partitions yet: the cluster is not founded.';
  grid.setAttribute('aria-label', label);
  say($('partitions-note'), label + (p.owners.length ? `. Framed: moved in the last ${freshFor / 1000} s (${fresh}). Hatched: the owner is dead (${away}).` : ''));
  if ($('partition-table').open) table(p);
}

function table(p) {
  const node = (i) => (i < 0 ? none : `${letter(p.nodes[i])} ${p.nodes[i]}`);
  sync($('partition-table').querySelector('tbody'), p.owners.map((o, i) => ({ o, i })), (r) => r.i,
    (r) => el('tr', {}, el('th', { scope: 'row', class: 'number' }, r.i), el('td'), el('td'), el('td', { class: 'number' })),
    (row, r) => cells(row, 1, [node(r.o), node(p.followers[r.i]), String(p.epochs[r.i])]));
}

function showMoves() {
  sync($('moves'), moves.length ? moves : [null], (m) => m?.key ?? 'none', (m) => {
    if (!m) return el('li', { class: 'note' }, 'No partition has moved since this page was opened.');
    const shown = m.parts.slice(0, 12).join(', ') + (m.parts.length > 12 ? ', …' : '');
    return el('li', {}, `${clock(m.t)}  `, badge(m.from), '→ ', badge(m.to), `${m.parts.length} ${m.parts.length === 1 ? 'partition' : 'partitions'} (${shown})`);
  });
}
