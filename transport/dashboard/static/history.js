// What the meter measured: min, mean and peak of open channels, of the whole cluster, by interval.
import { $, cells, el, say, svg, sync, visible } from './dom.js';
import { read } from './channels.js';
import { steps } from './chart.js';
import { axis, count, rate, when } from './format.js';

const height = 200;
const pad = { top: 10, right: 10, bottom: 22, left: 44 };
const pause = 5000; // ms between two readings

// start is when the interval began that lies n intervals before that of a moment, in UTC, as the meter's do.
const lengths = { minute: 60_000, hour: 3_600_000, day: 86_400_000 };
function start(unit, ms, n) {
  const length = lengths[unit];
  if (length) return (Math.floor(ms / length) - n) * length;
  const t = new Date(ms);
  return Date.UTC(t.getUTCFullYear(), t.getUTCMonth() - n, 1);
}
const two = (n) => String(n).padStart(2, '0');
const labels = {
  minute: (t) => `${two(t.getHours())}:${two(t.getMinutes())}`,
  hour: (t) => `${two(t.getHours())}:${two(t.getMinutes())}`,
  day: (t) => `${two(t.getUTCMonth() + 1)}-${two(t.getUTCDate())}`,
  month: (t) => `${t.getUTCFullYear()}-${two(t.getUTCMonth() + 1)}`,
};
const from = (unit, ms) => (unit === 'day' || unit === 'month' ? new Date(ms).toISOString().slice(0, unit === 'day' ? 10 : 7) : when(ms).slice(0, -3));
const told = (g) => `min ${count(g.min)} · mean ${rate(g.mean)} · peak ${count(g.peak)}`;

export function showHistory() {
  const form = $('history-form');
  const picture = svg('svg', { role: 'img', tabindex: 0, height });
  const readout = el('div', { class: 'readout' });
  $('history-chart').append(el('figure', { class: 'chart history' },
    el('figcaption', {}, el('b', {}, 'Channels (open)'), el('span', {}, el('span', { class: 'key band' }), 'min to ', el('span', { class: 'key' }), 'peak ', el('span', { class: 'key mark' }), 'mean')), picture, readout));
  let answer = null, chosen = null, timer, running, typed;

  // slots are the starts of all intervals of the picture, oldest first.
  function slots() {
    const newest = Math.max(Date.now(), answer.intervals.at(-1)?.start_ms ?? 0);
    return Array.from({ length: answer.limit }, (_, i) => start(answer.unit, newest, answer.limit - 1 - i));
  }

  function render() {
    if (!answer) return;
    const w = Math.max(picture.clientWidth, 200), inner = height - pad.top - pad.bottom;
    const ticks = steps(Math.max(0, ...answer.intervals.map((r) => r.channels.peak)), true);
    const y = (v) => pad.top + inner * (1 - v / ticks.at(-1));
    const starts = slots(), wide = (w - pad.left - pad.right) / starts.length;
    const at = new Map(answer.intervals.map((r) => [r.start_ms, r]));
    const parts = ticks.flatMap((t) => [
      svg('line', { class: 'grid', x1: pad.left, x2: w - pad.right, y1: Math.round(y(t)), y2: Math.round(y(t)) }),
      svg('text', { x: pad.left - 6, y: y(t) + 4, 'text-anchor': 'end' }, axis(t)),
    ]);
    const every = Math.ceil(62 / wide); // intervals between two labels, so that they have room
    starts.forEach((t, i) => {
      const x = pad.left + i * wide, mid = x + wide / 2, bar = Math.max(1, Math.min(wide - 1, 40));
      if ((starts.length - 1 - i) % every === 0) {
        parts.push(svg('line', { class: 'grid', x1: Math.round(mid), x2: Math.round(mid), y1: height - pad.bottom, y2: height - pad.bottom + 4 }));
        parts.push(svg('text', { x: Math.min(mid, w - 18), y: height - 6, 'text-anchor': 'middle' }, labels[answer.unit](new Date(t))));
      }
      const r = at.get(t);
      if (r) {
        const c = r.channels, left = mid - bar / 2;
        parts.push(svg('rect', { class: r.as_of_ms ? 'range running' : 'range', x: left, width: bar, y: y(c.peak), height: Math.max(0, y(c.min) - y(c.peak)) }));
        parts.push(svg('line', { class: 'top', x1: left, x2: left + bar, y1: y(c.peak), y2: y(c.peak) }));
        parts.push(svg('line', { class: 'mean', x1: left, x2: left + bar, y1: y(c.mean), y2: y(c.mean) }));
      }
      if (t === chosen) parts.push(svg('line', { class: 'cursor', x1: mid, x2: mid, y1: pad.top, y2: height - pad.bottom }));
    });
    const peak = answer.intervals.reduce((a, r) => (!a || r.channels.peak >= a.channels.peak ? r : a), null);
    const all = peak ? `highest peak ${count(peak.channels.peak)}, ${from(answer.unit, peak.start_ms)}` : 'nothing was open';
    const r = chosen === null ? null : at.get(chosen);
    say(readout, chosen === null ? all : `${from(answer.unit, chosen)}: ${r ? told(r.channels) + (r.as_of_ms ? ' so far' : '') : 'nothing was open'}`);
    picture.setAttribute('viewBox', `0 0 ${w} ${height}`);
    picture.setAttribute('aria-label', `Open channels per ${answer.unit}: ${all}`);
    picture.replaceChildren(...parts);
  }

  function table() {
    sync($('history-rows'), answer.intervals.length ? answer.intervals.toReversed() : [null], (r) => r?.start_ms ?? 'none',
      (r) => (r ? el('tr', {}, el('th', { scope: 'row' }, from(answer.unit, r.start_ms)), ...Array.from({ length: 4 }, () => el('td', { class: 'number' })))
        : el('tr', {}, el('td', { colspan: 5, class: 'empty' }, 'Nothing was open.'))),
      (row, r) => r && cells(row, 1, [count(r.channels.min), rate(r.channels.mean), count(r.channels.peak), count(r.connections.peak)]));
  }

  async function load(fresh) {
    clearTimeout(timer);
    running?.abort();
    const mine = (running = new AbortController());
    const ask = { unit: form.elements.unit.value, app: form.elements.app.value, consistency: 'stale' };
    if (fresh) say($('history-state'), 'Loading…', 'note');
    try {
      const got = await read(`../meter?${new URLSearchParams(ask)}`, mine.signal);
      if (running !== mine) return;
      answer = got;
      if (fresh) $('history-rows').replaceChildren();
      render();
      table();
      say($('history-state'), `${got.stale ? `May be old: ${got.stale}. ` : ''}Of the whole cluster${ask.app ? `, app “${visible(ask.app)}”` : ', all apps together'}, sampled each second and kept in the log. Empty where nothing was open; the last is not over.${ask.unit === 'day' || ask.unit === 'month' ? ' Days begin at 00:00 UTC.' : ''}`, 'note');
    } catch (e) {
      if (running !== mine) return;
      say($('history-state'), `The meter cannot be read: ${e.message}. Trying again…`, 'note error');
    }
    timer = setTimeout(again, pause);
  }
  const again = () => (document.hidden ? (timer = setTimeout(again, pause)) : load(false));

  const choose = (t) => { chosen = t; render(); };
  picture.addEventListener('pointermove', (e) => {
    if (!answer) return;
    const box = picture.getBoundingClientRect(), starts = slots();
    const i = Math.floor(((e.clientX - box.left - pad.left) / (box.width - pad.left - pad.right)) * starts.length);
    choose(starts[Math.min(starts.length - 1, Math.max(0, i))]);
  });
  picture.addEventListener('pointerleave', () => choose(null));
  picture.addEventListener('blur', () => choose(null));
  picture.addEventListener('keydown', (e) => {
    if (e.key === 'Escape') choose(null);
    const by = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
    if (!by || !answer) return;
    e.preventDefault();
    const starts = slots(), i = starts.indexOf(chosen);
    choose(starts[Math.min(starts.length - 1, Math.max(0, (i < 0 ? starts.length : i) + by))]);
  });
  form.addEventListener('submit', (e) => { e.preventDefault(); load(true); });
  form.addEventListener('input', () => { chosen = null; clearTimeout(typed); typed = setTimeout(() => load(true), 250); });
  form.elements.unit.addEventListener('change', () => { clearTimeout(typed); load(true); });
  new ResizeObserver(render).observe($('history-chart'));
  load(true);
}
