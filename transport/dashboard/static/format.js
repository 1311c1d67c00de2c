// Figures as people read them.

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export const none = '–';
const known = (n) => n !== null && n !== undefined && Number.isFinite(n);

export const count = (n) => (known(n) ? whole.format(n) : none);
export const rate = (n) => (known(n) ? (n < 100 ? fine : whole).format(n) : none);
export const axis = (n) => (Math.abs(n) >= 10000 ? short.format(n) : fine.format(n));

export function span(seconds) {
  if (!known(seconds)) return none;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${fine.format(seconds / 3600)} h`;
}

const two = (n) => String(n).padStart(2, '0');

export function clock(ms) {
  const t = new Date(ms);
  return `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;
}

// when adds the day where it is not today's.
export function when(ms) {
  const t = new Date(ms);
  const day = t.toDateString() === new Date().toDateString() ? '' : `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())} `;
  return day + clock(ms);
}
