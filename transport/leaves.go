package transport

import (
	"maps"
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

// leavesMax bounds what is remembered of one hold's leaves, in bytes. Beyond that the older half is forgotten.
const leavesMax = 1 << 20

// size is what a leave takes, about.
func (l *leave) size() int { return 256 + len(l.word.ClientID) + len(l.word.ID) }

// withoutReentries is a change without what was said before the members left, and notes who leaves with it. Leaves are
// remembered for the time in which a connection may be resumed. What the change lets enter has to be expected before.
func (h *hold) withoutReentries(c *channel.PresenceChange, now time.Time, remember time.Duration) *channel.PresenceChange {
	copied := false
	for i := len(c.Members) - 1; i >= 0; i-- {
		m := &c.Members[i]
		was, found := h.leaves[m.ClientID]
		switch {
		case m.Action == channel.Leave:
			if found || h.mayHave(m.ClientID) {
				h.noteLeave(channel.Member{ClientID: m.ClientID, ConnID: c.ConnID, ID: c.ID + ":" + strconv.Itoa(i)}, now, remember)
			}
		case !found:
		case m.ID == "" || m.Newer(&was.word):
			h.forgetLeave(m.ClientID)
		default:
			h.expectOne(m.ClientID, -1)
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

// mayHave says whether a client of the connection may be a member: one that never entered cannot leave.
func (h *hold) mayHave(clientID string) bool {
	_, is := h.members[clientID]
	return is || !h.whole || h.coming[clientID] > 0
}

// expect counts the clients that a change lets enter; with -1 they are not under way any more.
func (h *hold) expect(c *channel.PresenceChange, n int) {
	for i := range c.Members {
		if m := &c.Members[i]; m.Action != channel.Leave {
			h.expectOne(m.ClientID, n)
		}
	}
	if len(h.coming) == 0 {
		h.coming = nil
	}
}

func (h *hold) expectOne(clientID string, n int) {
	if n += h.coming[clientID]; n <= 0 {
		delete(h.coming, clientID)
		return
	}
	if h.coming == nil {
		h.coming = make(map[string]int)
	}
	h.coming[clientID] = n
}

// noteLeave remembers a leave, and forgets old ones when there are twice as many as stayed the last time, or too many.
func (h *hold) noteLeave(word channel.Member, now time.Time, remember time.Duration) {
	if h.leaves == nil {
		h.leaves = make(map[string]leave)
	}
	if len(h.leaves) >= max(h.leavesMost, 16) {
		for id, l := range h.leaves {
			if now.Sub(l.at) > remember {
				h.forgetLeave(id)
			}
		}
		h.leavesMost = 2 * len(h.leaves)
	}
	h.forgetLeave(word.ClientID)
	l := leave{word, now}
	h.leaves[word.ClientID] = l
	if h.leavesBytes += l.size(); h.leavesBytes > leavesMax {
		byAge := slices.SortedFunc(maps.Values(h.leaves), func(a, b leave) int { return a.at.Compare(b.at) })
		for _, l := range byAge[:len(byAge)/2] {
			h.forgetLeave(l.word.ClientID)
		}
	}
}

func (h *hold) forgetLeave(clientID string) {
	if l, found := h.leaves[clientID]; found {
		h.leavesBytes -= l.size()
		delete(h.leaves, clientID)
	}
}
