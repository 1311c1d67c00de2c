// The stream of summaries and events, which comes back by itself.

const silence = 6000; // ms without a word: the connection is taken for dead
const waits = [500, 1000, 2000, 4000, 8000];

// follow calls told.summary, told.events and told.state({state, ...}) until the page ends. States: connecting, live, and
// lost with reason and the time of the next try.
export function follow(url, told) {
  let source, watchdog, tries = 0, lastID = '';
  const alive = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => lost('nothing was heard for a while'), silence);
  };
  const lost = (reason) => {
    clearTimeout(watchdog);
    source.close();
    const wait = waits[Math.min(tries++, waits.length - 1)];
    told.state({ state: 'lost', reason, again: Date.now() + wait });
    setTimeout(open, wait);
  };
  const hear = (event, fn) =>
    source.addEventListener(event, (e) => {
      if (e.currentTarget !== source) return; // of one that was given up
      tries = 0;
      lastID = e.lastEventId || lastID;
      alive();
      told.state({ state: 'live' });
      fn(JSON.parse(e.data));
    });
  function open() {
    source = new EventSource(url + (lastID ? `?after=${encodeURIComponent(lastID)}` : ''));
    const mine = source;
    hear('summary', told.summary);
    hear('events', told.events);
    source.addEventListener('error', () => mine === source && lost('the node does not answer'));
    alive();
  }
  told.state({ state: 'connecting' });
  open();
}
