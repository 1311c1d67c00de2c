// What the page remembers: samples of the cluster's sums, and rates from the counters of each node.

export const span = 600_000; // ms
const window = 5_000; // ms that rates are means of
const hole = 3_500; // ms without a summary: the lines are broken

const counters = ['messages_in', 'messages_out', 'connects'];

export function memory() {
  const past = new Map(); // boot → [{t, counters}] of the window
  const samples = [];

  // rates of one node, null when not known (yet).
  function rates(member, t) {
    const f = member.figures;
    if (!f) return null;
    const seen = past.get(member.boot) ?? [];
    seen.push({ t, f });
    while (seen.length > 2 && t - seen[1].t >= window) seen.shift();
    past.set(member.boot, seen);
    const seconds = (t - seen[0].t) / 1000;
    if (seconds < 0.5) return null;
    return Object.fromEntries(counters.map((c) => [c, Math.max(0, f[c] - seen[0].f[c]) / seconds]));
  }

  // take adds one summary and returns {live, silent, total, byBoot}: total is null unless all nodes that live answered.
  function take(summary) {
    const t = summary.time_ms;
    const live = summary.members.filter((m) => m.state === 'alive' || m.state === 'leaving');
    const byBoot = new Map(live.map((m) => [m.boot, rates(m, t)]));
    for (const boot of past.keys()) if (!byBoot.has(boot)) past.delete(boot);
    const silent = live.filter((m) => !m.figures);
    const add = (get) => live.reduce((a, m) => { const v = get(m); return a === null || v === null || v === undefined ? null : a + v; }, 0);
    const total = Object.fromEntries(
      ['connections', 'attachments', 'channels_open', 'nacks', 'mailbox_full', 'outbox_full'].map((k) => [k, live.length ? add((m) => m.figures?.[k]) : null]).concat(
        counters.map((k) => [k, live.length ? add((m) => byBoot.get(m.boot)?.[k]) : null])),
    );
    const last = samples.at(-1);
    if (last && t < last.t) samples.length = 0; // another node with another clock
    else if (last && t - last.t > hole) samples.push({ t: last.t + 1, total: null });
    samples.push({ t, total });
    while (samples[0].t < t - span) samples.shift();
    return { live, silent, total, byBoot };
  }

  return { take, samples, of: (...keys) => samples.map((s) => ({ t: s.t, v: keys.map((k) => s.total?.[k] ?? null) })) };
}
