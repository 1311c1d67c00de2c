package dispatch

import (
	"maps"
	"sync"
	"time"
)

// Status is what the dispatcher is doing.
type Status struct {
	Leading bool         `json:"leading"` // whether this node sends; the numbers of others are in their own status
	Rules   []RuleStatus `json:"rules"`   // in the order of the configuration
}

// RuleStatus is how one rule fares. Cursor, Last and Lag are the cluster's; all else is what this process did.
type RuleStatus struct {
	App    string `json:"app"`
	Rule   string `json:"rule"`
	Format Format `json:"format"`

	Cursor uint64 `json:"cursor"`   // everything up to this seq is done
	Last   uint64 `json:"last_seq"` // last seq of the log
	Lag    uint64 `json:"lag"`      // events of the log behind the cursor, also those the rule does not want

	// LagSeconds is the age of the oldest event that the rule wants, this node has read and the sink has not accepted; 0
	// when there is none, and on a node that does not lead.
	LagSeconds float64 `json:"lag_seconds"`

	LastSent  uint64                 `json:"last_sent_seq"` // highest seq the sink accepted
	Sent      uint64                 `json:"sent"`          // events accepted
	Attempts  uint64                 `json:"attempts"`      // requests made
	Failures  uint64                 `json:"failures"`      // requests that were not accepted
	ByKind    map[FailureKind]uint64 `json:"failures_by_kind,omitempty"`
	Skipped   uint64                 `json:"skipped"`    // events that the log gave up before this node could send them, and did not fold
	Gaps      uint64                 `json:"gaps"`       // gaps that the sink was told of, or that were passed where its format has no word for them
	Held      int                    `json:"held"`       // events in memory
	InFlight  int                    `json:"in_flight"`  // requests
	InBackoff bool                   `json:"in_backoff"` // some lane waits before it tries again
	LastError string                 `json:"last_error,omitempty"`
	ErrorTime time.Time              `json:"last_error_time,omitzero"`

	waits    bool  // there is an oldest event
	oldestMs int64 // when it was decided
}

// Status returns a copy of what is known now.
func (d *Dispatcher) Status() Status {
	d.mu.Lock()
	out := Status{Leading: d.term != nil, Rules: []RuleStatus{}}
	d.mu.Unlock()
	cursors, now := d.config.Log.Cursors(), time.Now()
	for _, s := range d.senders() {
		if s.rule.Deliver != nil {
			continue
		}
		r := s.tally.copy()
		r.App, r.Rule, r.Format = s.rule.App, s.rule.ID, s.rule.Format
		r.Cursor = max(r.Cursor, cursors[s.rule.Cursor()])
		_, last, _, _ := d.config.Log.Events(r.Cursor, 1)
		r.Last = max(r.Last, last)
		if r.waits { // the clock that decided may be ahead of ours
			r.LagSeconds = max(now.Sub(time.UnixMilli(r.oldestMs)), 0).Seconds()
		}
		r.Lag = r.Last - min(r.Cursor, r.Last)
		out.Rules = append(out.Rules, r)
	}
	return out
}

// tally collects the numbers of one rule.
type tally struct {
	mu     sync.Mutex
	status RuleStatus
}

func (t *tally) with(fn func(*RuleStatus)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fn(&t.status)
}

func (t *tally) copy() (s RuleStatus) {
	t.with(func(r *RuleStatus) { s = *r })
	return s
}

// watch takes over what the pump knows.
func (t *tally) watch(p *pump) {
	t.with(func(s *RuleStatus) {
		s.oldestMs, s.waits = p.oldest()
		s.Cursor, s.Held, s.InFlight, s.InBackoff = p.prefix.cursor(), p.prefix.held(), p.inFlight(), p.waiting()
	})
}

// leave forgets what ends with a term.
func (t *tally) leave() {
	t.with(func(s *RuleStatus) {
		s.Cursor, s.Last, s.Held, s.InFlight, s.InBackoff, s.waits = 0, 0, 0, 0, false, false
	})
}

func (t *tally) see(last uint64) { t.with(func(s *RuleStatus) { s.Last = last }) }
func (t *tally) skip(n uint64)   { t.with(func(s *RuleStatus) { s.Skipped += n }) }
func (t *tally) gap()            { t.with(func(s *RuleStatus) { s.Gaps++ }) }
func (t *tally) attempt()        { t.with(func(s *RuleStatus) { s.Attempts++ }) }
func (t *tally) accepted(n int, last uint64) {
	t.with(func(s *RuleStatus) { s.Sent += uint64(n); s.LastSent = max(s.LastSent, last) })
}

func (t *tally) failed(now time.Time, err error) {
	t.with(func(s *RuleStatus) {
		s.Failures++
		s.ByKind = maps.Clone(s.ByKind) // copies of the status share the old one
		if s.ByKind == nil {
			s.ByKind = make(map[FailureKind]uint64)
		}
		s.ByKind[kindOf(err)]++
		s.LastError, s.ErrorTime = err.Error(), now
	})
}
