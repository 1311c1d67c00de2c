package transport

import (
	"slices"
	"strconv"
	"time"

	"innkeeper/channel"
)

// SDKs enter their members again whenever a channel is attached anew, under the ids that these had (RTP17g), and go by what
// they were told: a member that left a moment before may be among them. Its client said so first and means it to be gone;
// for everybody else it would have come back.

// left is the word with which a member left.
type left struct {
	word channel.Member
	at   time.Time
}

// withoutLeft is a change without what was said before the members left, and notes who leaves with it. Leaves are remembered
// for the time in which a connection may be resumed.
func (h *hold) withoutLeft(c *channel.PresenceChange, now time.Time, remember time.Duration) *channel.PresenceChange {
	copied := false
	for i := len(c.Members) - 1; i >= 0; i-- {
		m := &c.Members[i]
		was, found := h.left[m.ClientID]
		switch {
		case m.Action == channel.Leave:
			h.noteLeft(channel.Member{ClientID: m.ClientID, ConnID: c.ConnID, ID: c.ID + ":" + strconv.Itoa(i)}, now, remember)
		case !found:
		case m.ID == "" || m.Newer(&was.word):
			delete(h.left, m.ClientID)
		default:
			if !copied {
				another := *c
				another.Members = slices.Clone(c.Members)
				c, copied = &another, true
			}
			c.Members = slices.Delete(c.Members, i, i+1)
		}
	}
	return c
}

// noteLeft remembers a leave, and forgets old ones when there are twice as many as were left the last time.
func (h *hold) noteLeft(word channel.Member, now time.Time, remember time.Duration) {
	if h.left == nil {
		h.left = make(map[string]left)
	}
	if len(h.left) >= max(h.leftMost, 16) {
		for id, l := range h.left {
			if now.Sub(l.at) > remember {
				delete(h.left, id)
			}
		}
		h.leftMost = 2 * len(h.left)
	}
	h.left[word.ClientID] = left{word, now}
}
