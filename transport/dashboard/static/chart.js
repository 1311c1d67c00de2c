// A line chart of the last minutes, by hand: axes with units, gaps where nothing is known, a readout by pointer and keys.
import { el, svg } from './dom.js';
import { axis, clock, rate } from './format.js';

const height = 170;
const pad = { top: 10, right: 10, bottom: 22, left: 44 };

// steps returns ticks from 0 to at least most and 1, about five, each a number people count by; whole keeps them whole.
export function steps(most, whole) {
  let step = Math.max(most, 1) / 4;
  const power = 10 ** Math.floor(Math.log10(step));
  step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= step * 0.999 && (!whole || s >= 1) && (!whole || Number.isInteger(s))) ?? Math.ceil(step);
  const ticks = [];
  for (let i = 0; i === 0 || ticks.at(-1) < Math.max(most, 1); i++) ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}

// summarize returns min, mean and peak of the known values, null without any.
export function summarize(values) {
  const known = values.filter((v) => v !== null);
  if (!known.length) return null;
  return { min: Math.min(...known), mean: known.reduce((a, b) => a + b, 0) / known.length, peak: Math.max(...known) };
}

// chart makes a figure. draw takes samples {t, v: [one value or null per series]}, oldest first, and the time at the right end.
export function chart({ title, unit, series, span, whole }) {
  const picture = svg('svg', { role: 'img', tabindex: 0 });
  const readout = el('div', { class: 'readout' });
  const legend = series.length > 1 && el('span', {}, ...series.flatMap((s, i) => [el('span', { class: i ? 'key second' : 'key' }), s + ' ']));
  const figure = el('figure', { class: 'chart' }, el('figcaption', {}, el('b', {}, `${title} (${unit})`), legend), picture, readout);
  let samples = [], now = 0, chosen = null;

  const width = () => Math.max(picture.clientWidth, 200);
  const x = (t) => pad.left + (1 - (now - t) / span) * (width() - pad.left - pad.right);

  function lines(y) {
    const out = [];
    series.forEach((_, i) => {
      let line = '', area = '', begin = null, before = null;
      const end = () => {
        if (before !== null && i === 0) area += `L${before},${y(0)}L${begin},${y(0)}Z`;
        before = begin = null;
      };
      for (const s of samples) {
        if (s.v[i] === null) { end(); continue; }
        const px = x(s.t).toFixed(1), py = y(s.v[i]).toFixed(1);
        line += `${before === null ? 'M' : 'L'}${px},${py}`;
        area += `${before === null ? 'M' : 'L'}${px},${py}`;
        begin ??= px;
        before = px;
      }
      end();
      if (i === 0) out.push(svg('path', { class: 'area', d: area }));
      out.push(svg('path', { class: `series${i}`, d: line }));
    });
    return out;
  }

  function render() {
    const w = width(), inner = height - pad.top - pad.bottom;
    const ticks = steps(Math.max(0, ...samples.flatMap((s) => s.v.map((v) => v ?? 0))), whole);
    const y = (v) => pad.top + inner * (1 - v / ticks.at(-1));
    const parts = [];
    for (const t of ticks) {
      parts.push(svg('line', { class: 'grid', x1: pad.left, x2: w - pad.right, y1: Math.round(y(t)), y2: Math.round(y(t)) }));
      parts.push(svg('text', { x: pad.left - 6, y: y(t) + 4, 'text-anchor': 'end' }, axis(t)));
    }
    const minutes = span / 60000;
    for (let m = minutes; m >= 0; m -= w < 330 ? 5 : 2) {
      const px = x(now - m * 60000);
      parts.push(svg('line', { class: 'grid', x1: Math.round(px), x2: Math.round(px), y1: height - pad.bottom, y2: height - pad.bottom + 4 }));
      parts.push(svg('text', { x: px, y: height - 6, 'text-anchor': m === 0 ? 'end' : 'middle' }, m === 0 ? 'now' : `−${m} min`));
    }
    parts.push(...lines(y));
    const sum = summarize(samples.map((s) => s.v[0]));
    if (sum) {
      const peak = samples.findLast((s) => s.v[0] === sum.peak);
      parts.push(svg('circle', { class: 'dot', r: 3.5, cx: x(peak.t), cy: y(sum.peak) }));
    }
    const at = chosen === null ? null : samples.reduce((a, s) => (!a || Math.abs(s.t - chosen) < Math.abs(a.t - chosen) ? s : a), null);
    if (at) parts.push(svg('line', { class: 'cursor', x1: x(at.t), x2: x(at.t), y1: pad.top, y2: height - pad.bottom }));
    const head = series.length > 1 ? series[0] + ': ' : '';
    const all = sum ? `${head}min ${rate(sum.min)} · mean ${rate(sum.mean)} · peak ${rate(sum.peak)}` : 'no figures yet';
    readout.textContent = at ? `${clock(at.t)}: ${series.map((s, i) => (series.length > 1 ? s + ' ' : '') + rate(at.v[i])).join(', ')}` : all;
    picture.setAttribute('viewBox', `0 0 ${w} ${height}`);
    picture.setAttribute('aria-label', `${title}, ${unit}, last ${minutes} minutes: ${all}`);
    picture.replaceChildren(...parts);
  }

  const choose = (t) => {
    chosen = t;
    render();
  };
  picture.addEventListener('pointermove', (e) => {
    const box = picture.getBoundingClientRect();
    choose(now - (1 - (e.clientX - box.left - pad.left) / (width() - pad.left - pad.right)) * span);
  });
  picture.addEventListener('pointerleave', () => choose(null));
  picture.addEventListener('blur', () => choose(null));
  picture.addEventListener('keydown', (e) => {
    const by = { ArrowLeft: -5000, ArrowRight: 5000 }[e.key];
    if (e.key === 'Escape') choose(null);
    if (!by || !samples.length) return;
    e.preventDefault();
    choose(Math.min(samples.at(-1).t, Math.max(samples[0].t, (chosen ?? samples.at(-1).t) + by)));
  });
  new ResizeObserver(render).observe(figure);
  return { figure, draw: (s, t) => { samples = s; now = t; render(); } };
}
