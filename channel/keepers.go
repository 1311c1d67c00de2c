package channel

// follower is a member that is reached on one session. The zero follower is nobody.
type follower struct {
	to      GatewayID
	session uint64
}

// keepers are where copies of a tenure's history are kept. There is one that publishes wait for, whoever has it, and at most
// one more that is sent what is old until it has all and takes the other's place. So a member that was followed goes on being
// fed when another is to follow, and is let go when that one has a whole copy, or when the session with it ends.
//
// It is pure: who calls it begins and ends what it asks for.
type keepers struct {
	whole   follower // has everything: publishes wait for it
	growing follower // is being sent what is old, and live publishes behind it
	wanted  follower // is to have the copy; nobody when the one that should cannot be reached
}

// want says who is to have the copy from now on.
func (k *keepers) want(f follower) {
	k.wanted = f
	// Of several sessions with a member the last one stands.
	if k.whole.to == f.to && k.whole != f {
		k.whole = follower{}
	}
	k.settle()
}

// lost says that a session is over, and what was sent on it may be.
func (k *keepers) lost(f follower) {
	for _, place := range []*follower{&k.whole, &k.growing, &k.wanted} {
		if *place == f {
			*place = follower{}
		}
	}
	k.settle()
}

// grown says that the copy that was growing is whole.
func (k *keepers) grown() {
	k.whole, k.growing = k.growing, follower{}
	k.settle()
}

// settle decides whose copy grows. While nobody has a whole copy, the one that was begun is not given up for another: it is
// whole the sooner, and that is what counts.
func (k *keepers) settle() {
	none := follower{}
	switch {
	case k.wanted == none:
	case k.wanted == k.whole:
		k.growing = none
	case k.growing == none, k.whole != none, k.growing.to == k.wanted.to:
		k.growing = k.wanted
	}
}
