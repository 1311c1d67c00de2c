package cluster

import "innkeeper/cluster/ring"

// A planned move takes a partition from a member that lives to another. Nothing hurries it, so it is made in steps, each
// a change of its own: the member that will own the partition becomes its follower; when it has a whole copy, it becomes
// the owner. Partitions move a few at a time, so that those that are being rebuilt are few at any moment.

// move is one step of that kind: the second.
type move struct {
	part  uint32
	epoch uint64 // under which from owns it
	from  string
	to    string
}

// eligible are the nodes that partitions may be placed on. When all that live are leaving, they keep what they have:
// nobody would take it.
func eligible(members []Member) []string {
	var alive, leaving []string
	for _, m := range members {
		switch m.State {
		case Alive:
			alive = append(alive, m.Node)
		case Leaving:
			leaving = append(leaving, m.Node)
		}
	}
	if len(alive) > 0 {
		return alive
	}
	return leaving
}

// stage is ring.Place without what can wait: a partition whose owner lives stays with it, and the one that it should go to
// becomes its follower. live says who will be.
func stage(table ring.Table, owners []string, live, bounced map[string]bool) []ring.Change {
	var urgent []ring.Change
	bump := map[uint32]bool{}
	for _, c := range ring.Place(table, owners, bounced) {
		if was := table.Slots[c.Part].Owner; was != c.Owner && live[was] {
			c = ring.Change{Part: c.Part, Owner: was, Follower: table.Slots[c.Part].Follower, Bump: bounced[was]}
		}
		urgent = append(urgent, c)
		bump[c.Part] = c.Bump
	}
	// What is urgent takes room, so the rest is placed on what it leaves.
	next := table.Apply(urgent)
	for _, c := range ring.Place(next, owners, nil) {
		slot := &next.Slots[c.Part]
		if slot.Follower = c.Follower; slot.Owner != c.Owner {
			slot.Follower = c.Owner
		}
	}
	var changes []ring.Change
	for part, slot := range next.Slots {
		c := ring.Change{Part: uint32(part), Owner: slot.Owner, Follower: slot.Follower, Bump: bump[uint32(part)]}
		if was := table.Slots[part]; c.Owner != was.Owner || c.Follower != was.Follower || c.Bump {
			changes = append(changes, c)
		}
	}
	return changes
}

// moves lists what stage has put off, in order of partition, and what the table must become for each.
func moves(view *View) (list []move, changes []ring.Change) {
	live := map[string]bool{}
	for _, p := range view.live() {
		live[p.Node] = true
	}
	for _, c := range ring.Place(view.Table, eligible(view.Members), nil) {
		slot := view.Table.Slots[c.Part]
		if slot.Owner != c.Owner && live[slot.Owner] {
			list = append(list, move{part: c.Part, epoch: slot.Epoch, from: slot.Owner, to: c.Owner})
			changes = append(changes, c)
		}
	}
	return list, changes
}

// moveBatch is how many of n partitions move at a time: few enough that a node notices little, enough that not even all
// of them take more than some sixteen turns.
func moveBatch(n int) int { return max(8, n/16) }
