package cluster

// nudge wakes a loop that then looks at everything again. Nudges that come while one waits are the same nudge.
type nudge chan struct{}

func newNudge() nudge { return make(nudge, 1) }

func (n nudge) poke() {
	select {
	case n <- struct{}{}:
	default:
	}
}
