package sim

import "time"

// CheckOwners judges that each (partition, epoch) has one owner, and that no node claims an epoch after it claimed a
// later one.
func CheckOwners(h *History) []Violation {
	l := list{promise: "owner"}
	type term struct {
		partition uint32
		epoch     uint64
	}
	type seat struct {
		node      int
		boot      string
		partition uint32
	}
	owner := make(map[term]Claim)
	latest := make(map[seat]uint64)
	for _, c := range h.Claims {
		if c.Ends {
			continue
		}
		t := term{c.Partition, c.Epoch}
		if o, ok := owner[t]; ok && (o.Node != c.Node || o.Boot != c.Boot) {
			l.add("", c.At, "partition %d at epoch %d is owned by node %d (boot %s) and by node %d (boot %s)",
				c.Partition, c.Epoch, o.Node, o.Boot, c.Node, c.Boot)
		}
		owner[t] = c
		s := seat{c.Node, c.Boot, c.Partition}
		if c.Epoch < latest[s] {
			l.add("", c.At, "node %d claims partition %d at epoch %d after epoch %d", c.Node, c.Partition, c.Epoch, latest[s])
		}
		latest[s] = max(latest[s], c.Epoch)
	}
	return l.found
}

// leaseSpan is how long a node that hears nobody may keep its clients: its lease, and a little to notice and to say so.
const leaseSpan = 4*time.Second + 2*time.Second

// CheckSentAway judges G9 for nodes that only the other nodes could not hear: their clients were sent elsewhere when the
// lease ran out.
func CheckSentAway(h *History) []Violation {
	l := list{promise: "G9"}
	for _, o := range h.Outages {
		if o.Kind != CutOff || o.Node < 0 {
			continue
		}
		limit := o.From.Add(leaseSpan)
		if !o.To.IsZero() && o.To.Before(limit) {
			continue
		}
		end := o.To
		if end.IsZero() {
			end = h.End
		}
		for _, a := range h.Attachments {
			kept := a.Node == o.Node && !a.Confirmed.IsZero() && a.Confirmed.Before(end) && (a.Left.IsZero() || a.Left.After(limit))
			if kept && !deaf(a, h.Outages, o.From, end) {
				l.add(a.Channel, limit, "node %d was cut off from %s to %s and client %d was attached there from %s to %s",
					a.Node, clock(o.From), clock(end), a.Client, clock(a.Confirmed), clock(a.Left))
			}
		}
	}
	return l.found
}

// deaf says whether a client could not hear its node at some time of a span.
func deaf(a Attachment, outages []Outage, from, to time.Time) bool {
	for _, o := range outages {
		if (o.Client == a.Client || o.Node == a.Node) && o.Kind == Silent && o.From.Before(to) && (o.To.IsZero() || o.To.After(from)) {
			return true
		}
	}
	return false
}

// CheckSettled judges that the cluster came back: at the end every client holds what it wants.
func CheckSettled(h *History) []Violation {
	l := list{promise: "settle"}
	type key struct {
		client  int
		channel string
	}
	held := make(map[key]bool)
	for _, a := range h.Attachments {
		if !a.Confirmed.IsZero() && a.Left.IsZero() {
			held[key{a.Client, a.Channel}] = true
		}
	}
	for _, client := range sorted(h.Wanted) {
		for _, w := range h.Wanted[client] {
			if !held[key{client, w.Channel}] {
				l.add(w.Channel, h.End, "client %d could not attach within %v of quiet", client, h.End.Sub(h.Quiet))
			}
		}
	}
	return l.found
}

// CheckBuried judges G9: nobody takes over from a node that still acts. What a node knows as dead holds no lease.
func CheckBuried(h *History) []Violation {
	l := list{promise: "G9"}
	for _, b := range h.Burials {
		l.add("", b.At, "node %d (boot %s) holds a lease at %s, and node %d knows it as dead", b.Node, b.Boot, clock(b.At), b.By)
	}
	return l.found
}
