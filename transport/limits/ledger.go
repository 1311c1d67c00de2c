package limits

// Ledger is what a leader gave leave for, by boot. A boot's record is what it said last that it holds, and what it was given
// since: the boot can have no more than that open. A new leader knows nothing and waits until every live boot has spoken.
type Ledger struct{ boots map[string]map[Key]*record }

type record struct {
	used  int64 // open, as the boot said
	leave int64 // what it can have open at most
}

// NewLedger makes the ledger of a leader that has just begun.
func NewLedger() *Ledger { return &Ledger{boots: map[string]map[Key]*record{}} }

// Hold is what a boot says of one limit, of what is there at once.
type Hold struct {
	Key
	Used int64 `json:"used"` // open, and what has leave to be in a moment
	Keep int64 `json:"keep"` // leave that it has beyond that, and wants to keep
	Want int64 `json:"want"` // how many wait for leave
}

// Grant answers a Hold.
type Grant struct {
	Key
	Hard    int64 `json:"hard"`              // the threshold that the leader knows, 0 for none
	Give    int64 `json:"give"`              // more leave, beyond what was said
	Spare   int64 `json:"spare"`             // how much of it is worth keeping without use
	Unheard bool  `json:"unheard,omitempty"` // not every boot has spoken: nothing changes
	Over    bool  `json:"over,omitempty"`    // more is open than may be: what closes stays closed
	Full    bool  `json:"full,omitempty"`    // who still waits is to be refused: the limit is used up
}

// spareMax bounds what a node may have in hand.
const spareMax = 1024

// Cluster is what a leader knows beside its ledger.
type Cluster struct {
	Live []string        // boots that are members and not dead
	Hard func(Key) int64 // the hard threshold; 0: none
	Open func(Key) int64 // what all nodes together reported a moment ago; partitions that move count with their last
}

// Sync takes in what a boot says and answers it. The boot says nothing more before it has the answer, or has given up
// waiting and will never look at it.
func (l *Ledger) Sync(boot string, holds []Hold, c Cluster) []Grant {
	mine := make(map[Key]*record, len(holds))
	for _, h := range holds {
		mine[h.Key] = &record{used: max(h.Used, 0), leave: max(h.Used, 0) + max(h.Keep, 0)}
	}
	l.boots[boot] = mine
	l.bury(c.Live)
	grants := make([]Grant, 0, len(holds))
	for _, h := range holds {
		grants = append(grants, l.grant(mine[h.Key], h, c))
	}
	return grants
}

// bury forgets the boots that are dead.
func (l *Ledger) bury(live []string) {
	alive := make(map[string]bool, len(live))
	for _, b := range live {
		alive[b] = true
	}
	for b := range l.boots {
		if !alive[b] {
			delete(l.boots, b)
		}
	}
}

func (l *Ledger) grant(mine *record, h Hold, c Cluster) Grant {
	hard := c.Hard(h.Key)
	g := Grant{Key: h.Key, Hard: hard}
	if hard == 0 {
		return g // one of both has not heard of a change yet
	}
	var used, leave int64
	for _, boot := range c.Live {
		r := l.boots[boot][h.Key]
		if r == nil {
			g.Unheard = true
			return g
		}
		used, leave = used+r.used, leave+r.leave
	}
	free := max(hard-max(leave, c.Open(h.Key)), 0)
	g.Give = min(h.Want, free)
	// Some in hand saves most of them the way here. Near the limit nobody has any, so that nobody waits for what lies idle
	// elsewhere.
	g.Spare = min((free-g.Give)/int64(4*len(c.Live)), spareMax)
	used += g.Give
	g.Give += max(g.Spare-h.Keep, 0)
	mine.leave += g.Give
	g.Full, g.Over = h.Want > 0 && used >= hard, used > hard
	return g
}
