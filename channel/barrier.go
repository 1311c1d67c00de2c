package channel

// Barrier says when a new owner has heard enough to speak for a partition: when every live member has sent a Snapshot
// of the new epoch. A member whose death is committed is no longer waited for, one that becomes live while the
// partition waits is. Nobody live is not "everybody was heard": the member set is not known yet.
//
// It is plain data, not safe for concurrent use. The zero value waits for a member set.
type Barrier struct {
	live  []Gateway
	heard map[Gateway]struct{}
}

// Live replaces the member set. Who leaves it must be heard again if it ever comes back.
func (b *Barrier) Live(members []Gateway) {
	for _, g := range b.live {
		if !contains(members, g) {
			delete(b.heard, g)
		}
	}
	b.live = members
}

// Heard notes the Snapshot of a gateway, member or not yet.
func (b *Barrier) Heard(g Gateway) {
	if b.heard == nil {
		b.heard = make(map[Gateway]struct{})
	}
	b.heard[g] = struct{}{}
}

// Forget takes back Heard: what the gateway said was lost.
func (b *Barrier) Forget(g Gateway) { delete(b.heard, g) }

// Passed reports that every live member was heard.
func (b *Barrier) Passed() bool { return len(b.live) > 0 && len(b.Missing()) == 0 }

// Missing is who is waited for.
func (b *Barrier) Missing() []Gateway {
	var missing []Gateway
	for _, g := range b.live {
		if _, ok := b.heard[g]; !ok {
			missing = append(missing, g)
		}
	}
	return missing
}

// contains searches a member set, which is small.
func contains(set []Gateway, g Gateway) bool {
	for _, x := range set {
		if x == g {
			return true
		}
	}
	return false
}
