package sim

// Mode is the set of modes of an attachment, as the flags of the wire.
type Mode int

// The modes.
const (
	Presence          Mode = 1 << 16
	Publish           Mode = 1 << 17
	Subscribe         Mode = 1 << 18
	PresenceSubscribe Mode = 1 << 19

	modeBits = Presence | Publish | Subscribe | PresenceSubscribe
)

// metrics lists what an attachment counts as.
func (m Mode) metrics() []string {
	out := []string{"connections"}
	for _, x := range []struct {
		bit  Mode
		name string
	}{
		{Publish, "publishers"}, {Subscribe, "subscribers"},
		{Presence, "presenceConnections"}, {PresenceSubscribe, "presenceSubscribers"},
	} {
		if m&x.bit != 0 {
			out = append(out, x.name)
		}
	}
	return out
}
