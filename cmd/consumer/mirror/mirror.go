// Package mirror keeps a copy of the set of occupied channels by pulling: the recipe of docs/consuming.md as a program.
//
// A [Mirror] that knows nothing lists GET /occupied, whose pages all show the set as of one seq, and goes on with the
// stream of GET /events behind that seq. It goes on there after a broken connection, at whichever node answers, and after
// a restart with the table it is given. Only where the log has forgotten the events in between, or an event contradicts the
// table, does it begin anew.
//
// Read table.go (what an event does), mirror.go (the course), client.go (the requests), stream.go (server-sent events).
// One goroutine does all: that of [Mirror.Run].
package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Config is what a Mirror needs.
type Config struct {
	Nodes  []string // base URLs of nodes, such as http://10.0.0.1:8080; any of them will do
	Key    string   // appId.keyId:secret, with channel-metadata on all channels
	Client *http.Client
	Logger *slog.Logger // nil discards
	// Changed is called from Run's goroutine after each event that changed the table, and with nil when the table was made
	// anew. It must not keep or change the table, which is as of this moment; it is where a database would be written to.
	Changed func(t *Table, e *Event)
}

const (
	retryMin   = 100 * time.Millisecond // between attempts, doubling
	retryMax   = 5 * time.Second
	silenceMax = 40 * time.Second // nodes say something every 15 s
)

// Mirror is a copy of one app's occupied channels. Table may be called from any goroutine.
type Mirror struct {
	cfg    Config
	node   int  // index of the node to ask next; of Run
	failed bool // the last attempt; of Run

	mu    sync.Mutex
	table Table // Channels is nil while there is none
	made  int   // times that the table was made anew
}

// New returns a mirror that goes on with a table of an earlier run; the zero Table is none.
func New(c Config, t Table) *Mirror {
	if c.Client == nil {
		c.Client = http.DefaultClient
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Mirror{cfg: c, table: t.clone()}
}

// Table is a copy of the table, and how often it was made anew; ok is false while there is none.
func (m *Mirror) Table() (t Table, made int, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.table.clone(), m.made, m.table.Channels != nil
}

// Run goes on until ctx ends, which is no error, or a node refuses for good: a wrong key, say.
func (m *Mirror) Run(ctx context.Context) error {
	retry := retryMin
	for ctx.Err() == nil {
		before := m.position()
		err := m.advance(ctx)
		if ctx.Err() != nil {
			break
		}
		if r, ok := errors.AsType[*refusal](err); ok && !r.passes() {
			return err
		}
		if errors.Is(err, errForgotten) || errors.Is(err, errContradiction) {
			m.cfg.Logger.Warn("the table must be made anew", "why", err)
			m.drop()
			continue
		}
		if m.position() != before {
			retry = retryMin
		}
		m.cfg.Logger.Info("trying another node", "node", m.cfg.Nodes[m.node], "err", err)
		m.node = (m.node + 1) % len(m.cfg.Nodes)
		select {
		case <-time.After(retry):
		case <-ctx.Done():
		}
		retry = min(2*retry, retryMax)
	}
	return nil
}

// The reasons to begin anew.
var (
	errForgotten     = errors.New("the log has forgotten the events behind the table")
	errContradiction = errors.New("an event contradicts the table")
)

// advance makes the table if there is none, and then follows events until something ends that.
func (m *Mirror) advance(ctx context.Context) error {
	if _, _, ok := m.Table(); !ok {
		t, err := m.list(ctx)
		if err != nil {
			return err
		}
		m.mu.Lock()
		m.table = t
		m.made++
		m.mu.Unlock()
		m.tell(nil)
	}
	return m.follow(ctx, m.position())
}

// position is the seq that the table is true for.
func (m *Mirror) position() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.table.Seq
}

// drop forgets the table.
func (m *Mirror) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.table = Table{}
}

// take applies one event.
func (m *Mirror) take(e Event) error {
	m.mu.Lock()
	changed, err := m.table.Apply(e)
	m.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%w: %w", errContradiction, err)
	}
	if changed {
		m.tell(&e)
	}
	return nil
}

// pass moves the position over events that are not for this reader.
func (m *Mirror) pass(seq uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.table.Seq = max(m.table.Seq, seq)
}

func (m *Mirror) tell(e *Event) {
	if m.cfg.Changed != nil {
		m.cfg.Changed(&m.table, e) // only this goroutine changes it
	}
}
