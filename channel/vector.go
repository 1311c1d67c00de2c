package channel

// Gateway is a short name for a GatewayID within one Host. 0 is none. It is never given to another boot.
type Gateway uint32

// vector is what one gateway holds on a channel.
type vector struct {
	gateway Gateway
	confirm bool // a Registered is owed
	lost    bool // and has to say that the gateway missed what cannot be told any more
	version uint64
	counts  Counts
	watch   *watch // nil when nobody watches there, which is the common case
}

// watch is what a gateway with watchers was last told, so that identical counts are not told twice and every change is
// told in the end.
type watch struct {
	known  bool // told holds what the gateway has
	seeded bool // the seed comes with the Registered that is owed; tell nothing before it
	split  bool // attachments that came later were seeded with other counts than told
	told   Counts
}

func (v *vector) holdsNothing() bool { return v.counts == Counts{} && v.watch == nil && !v.confirm }

// vectors keeps one vector per gateway. Most channels are held by one gateway: its vector needs no allocation.
type vectors struct {
	first vector
	rest  []vector
}

func (vs *vectors) len() int {
	if vs.first.gateway == 0 {
		return 0
	}
	return 1 + len(vs.rest)
}

func (vs *vectors) at(i int) *vector {
	if i == 0 {
		return &vs.first
	}
	return &vs.rest[i-1]
}

func (vs *vectors) find(g Gateway) *vector {
	for i := range vs.len() {
		if v := vs.at(i); v.gateway == g {
			return v
		}
	}
	return nil
}

func (vs *vectors) add(g Gateway) *vector {
	if vs.first.gateway == 0 {
		vs.first.gateway = g
		return &vs.first
	}
	vs.rest = append(vs.rest, vector{gateway: g})
	return &vs.rest[len(vs.rest)-1]
}

// remove takes the i-th vector out; the last one takes its place.
func (vs *vectors) remove(i int) {
	last := vs.len() - 1
	*vs.at(i) = *vs.at(last)
	*vs.at(last) = vector{}
	if last > 0 {
		vs.rest = vs.rest[:last-1]
	}
	if len(vs.rest) == 0 {
		vs.rest = nil
	}
}

// crosses reports that some category went from none to some or back.
func crosses(a, b Counts) bool {
	for i := range a {
		if (a[i] == 0) != (b[i] == 0) {
			return true
		}
	}
	return false
}
