package channel

import (
	"hash/maphash"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"
)

// knownIDs are the ids of publishes whose messages are not kept any more, with the serials that answer a publish that is
// said again. It takes about 70 bytes for each, so ids are hashed: one half of the hash leads to the place in the list,
// the other is under a secret, so that nobody can make an id that is taken for another's. nil is none.
type knownIDs struct {
	list  []knownID         // by age
	first uint64            // number of list[0], counted over the life of the list
	index map[uint64]uint64 // key → number; nil while there are few
}

type knownID struct {
	key    uint64 // as in an entry
	proof  uint64 // of the id and of whose it is; see entry.same
	stamp  Stamp
	series string // with stamp, the serial; shared with its neighbours
	at     time.Duration
}

var proofSeed = maphash.MakeSeed()

// proofOf is what tells ids with one key apart.
func proofOf(conn, id string) uint64 {
	var h maphash.Hash
	h.SetSeed(proofSeed)
	if ownID(conn, id) {
		h.WriteString(conn)
	}
	h.WriteByte(0)
	h.WriteString(id)
	return h.Sum64()
}

func (k *knownIDs) len() int {
	if k == nil {
		return 0
	}
	return len(k.list)
}

// find gives the serial of a publish that is said again.
func (k *knownIDs) find(p *Publish) (serial string, found bool) {
	if k == nil || p.ID == "" {
		return "", false
	}
	key := xxhash.Sum64String(p.ID)
	i := -1
	if k.index != nil {
		if n, ok := k.index[key]; ok {
			i = int(n - k.first)
		}
	} else {
		i = slices.IndexFunc(k.list, func(id knownID) bool { return id.key == key })
	}
	if i < 0 || k.list[i].proof != proofOf(p.ConnID, p.ID) {
		return "", false
	}
	return k.list[i].stamp.serial(k.list[i].series), true
}

// remember adds the id of an entry that is about to go.
func (h *history) remember(e *entry) {
	if e.d.ID == "" || len(e.d.Serial) <= positionBytes {
		return
	}
	if h.old == nil {
		h.old = &knownIDs{}
	}
	k := h.old
	id := knownID{key: e.key, proof: proofOf(e.d.ConnID, e.d.ID), stamp: e.stamp, series: e.d.Serial[positionBytes+1:], at: e.at}
	if n := len(k.list); n > 0 && k.list[n-1].series == id.series {
		id.series = k.list[n-1].series // or it would keep a serial alive for each
	}
	k.list = append(k.list, id)
	if k.index != nil {
		k.index[id.key] = k.first + uint64(len(k.list)-1)
	} else if len(k.list) > indexFrom {
		k.index = make(map[uint64]uint64, 2*indexFrom)
		for i := range k.list {
			k.index[k.list[i].key] = k.first + uint64(i)
		}
	}
}

// forgetIDs forgets the first n ids.
func (h *history) forgetIDs(n int) {
	k := h.old
	switch {
	case n == 0:
		return
	case n == len(k.list):
		h.old = nil
		return
	}
	for i := range n {
		if id := &k.list[i]; k.index != nil && k.index[id.key] == k.first+uint64(i) {
			delete(k.index, id.key)
		}
		k.list[i] = knownID{}
	}
	k.list = k.list[n:] // append moves what is left when the room behind it is used up
	k.first += uint64(n)
}

// expireIDs forgets the ids of what was published at or before a time.
func (h *history) expireIDs(before time.Duration) {
	if h.old == nil {
		return
	}
	n := slices.IndexFunc(h.old.list, func(id knownID) bool { return id.at > before })
	if n < 0 {
		n = len(h.old.list)
	}
	h.forgetIDs(n)
}
