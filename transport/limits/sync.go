package limits

import "time"

// Sync is what a node says to the leader, several times a second while anything is limited.
type Sync struct {
	Holds   []Hold                     `json:"holds,omitempty"`
	Demands []Demand                   `json:"demands,omitempty"`
	Refused map[Scope][NumNames]uint64 `json:"refused,omitempty"` // since the boot began
}

// Answer is what the leader says to that.
type Answer struct {
	Grants []Grant `json:"grants,omitempty"`
	Shares []Share `json:"shares,omitempty"`
}

// demandKept is for how long what a boot asked for counts, in which it should have said it again.
const demandKept = 3 * time.Second

// Leader is what one term of a leader knows. It is pure, and not safe for concurrent use.
type Leader struct {
	ledger  *Ledger
	demands map[string]demanded                   // by boot
	refused map[string]map[Scope][NumNames]uint64 // by boot: as last heard
	fresh   map[Scope][NumNames]uint64            // refused since Refusals was called
}

type demanded struct {
	at   time.Time
	rate map[Key]float64
}

// NewLeader makes one that knows nothing yet.
func NewLeader() *Leader {
	return &Leader{
		ledger: NewLedger(), demands: map[string]demanded{}, refused: map[string]map[Scope][NumNames]uint64{}, fresh: map[Scope][NumNames]uint64{},
	}
}

// Sync takes in what a live boot says, and answers it.
func (l *Leader) Sync(now time.Time, boot string, s *Sync, c Cluster) *Answer {
	a := &Answer{Grants: l.ledger.Sync(boot, s.Holds, c)}
	if len(s.Demands) > 0 {
		d := demanded{at: now, rate: make(map[Key]float64, len(s.Demands))}
		since := time.Second
		if last, ok := l.demands[boot]; ok {
			since = max(now.Sub(last.at), 100*time.Millisecond)
		}
		for _, one := range s.Demands {
			d.rate[one.Key] = float64(one.Asked) / since.Seconds()
		}
		l.demands[boot] = d
		for _, one := range s.Demands {
			share := l.share(now, boot, one.Key, float64(c.Hard(one.Key)), c.Live)
			a.Shares = append(a.Shares, Share{one.Key, share, l.Rate(now, one.Key)})
		}
	}
	l.count(boot, s.Refused)
	for b := range l.refused {
		if _, live := l.ledger.boots[b]; !live {
			delete(l.refused, b)
			delete(l.demands, b)
		}
	}
	return a
}

func (l *Leader) share(now time.Time, boot string, key Key, rate float64, live []string) float64 {
	asked, mine := make([]float64, len(live)), 0
	for i, b := range live {
		if d := l.demands[b]; now.Sub(d.at) < demandKept {
			asked[i] = d.rate[key]
		}
		if b == boot {
			mine = i
		}
	}
	return Shares(rate, asked)[mine]
}

// count notes what was refused since the boot was heard last. What it said to the leader before is not known here, and not
// counted again.
func (l *Leader) count(boot string, refused map[Scope][NumNames]uint64) {
	before, known := l.refused[boot]
	for scope, totals := range refused {
		fresh := l.fresh[scope]
		for n, total := range totals {
			if known && total > before[scope][n] {
				fresh[n] += total - before[scope][n]
			}
		}
		l.fresh[scope] = fresh
	}
	l.refused[boot] = refused
}

// Refusals is how often each limit was met since the last call.
func (l *Leader) Refusals() map[Scope][NumNames]uint64 {
	fresh := l.fresh
	l.fresh = map[Scope][NumNames]uint64{}
	return fresh
}

// Rate is how much is asked for of a rate now, per second, in the whole cluster.
func (l *Leader) Rate(now time.Time, key Key) (sum float64) {
	for _, d := range l.demands {
		if now.Sub(d.at) < demandKept {
			sum += d.rate[key]
		}
	}
	return sum
}
