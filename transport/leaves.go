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

// leave is the word with which a member left.
type leave struct {
	word channel.Member
	at   time.Time
}

// withoutReentries is a change without what was said before the members left, and notes who leaves with it. Leaves are
// remembered for the time in which a connection may be resumed.
func (h *hold) withoutReentries(c *channel.PresenceChange, now time.Time, remember time.Duration) *channel.PresenceChange {
	copied := false
	for i := len(c.Members) - 1; i >= 0; i-- {
		m := &c.Members[i]
		was, found := h.leaves[m.ClientID]
		switch {
		case m.Action == channel.Leave:
			h.noteLeave(channel.Member{ClientID: m.ClientID, ConnID: c.ConnID, ID: c.ID + ":" + strconv.Itoa(i)}, now, remember)
		case !found:
		case m.ID == "" || m.Newer(&was.word):
			delete(h.leaves, m.ClientID)
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

// noteLeave remembers a leave, and forgets old ones when there are twice as many as stayed the last time.
func (h *hold) noteLeave(word channel.Member, now time.Time, remember time.Duration) {
	if h.leaves == nil {
		h.leaves = make(map[string]leave)
	}
	if len(h.leaves) >= max(h.leavesMost, 16) {
		for id, l := range h.leaves {
			if now.Sub(l.at) > remember {
				delete(h.leaves, id)
			}
		}
		h.leavesMost = 2 * len(h.leaves)
	}
	h.leaves[word.ClientID] = leave{word, now}
}
