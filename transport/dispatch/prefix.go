package dispatch

import (
	"fmt"
	"sort"
)

// prefix tracks which events, read in order and finished in any order, are all done: the contiguous prefix that a cursor
// may stand for.
type prefix struct {
	read  uint64 // highest seq looked at
	marks []mark // unfinished events and the finished ones behind them, by seq
}

type mark struct {
	seq  uint64
	done bool
}

// add says that the event at seq has been read and must be finished before the cursor may pass it.
func (p *prefix) add(seq uint64) {
	p.skip(seq)
	p.marks = append(p.marks, mark{seq: seq})
}

// skip says that everything up to seq has been read and that nothing since the last add needs to be finished.
func (p *prefix) skip(seq uint64) {
	if seq <= p.read {
		panic(fmt.Sprintf("dispatch: read seq %d after %d", seq, p.read))
	}
	p.read = seq
}

// finish says that the event at seq is done.
func (p *prefix) finish(seq uint64) {
	i := sort.Search(len(p.marks), func(i int) bool { return p.marks[i].seq >= seq })
	if i == len(p.marks) || p.marks[i].seq != seq || p.marks[i].done {
		panic(fmt.Sprintf("dispatch: finished seq %d, which is not open", seq))
	}
	p.marks[i].done = true
	n := 0
	for n < len(p.marks) && p.marks[n].done {
		n++
	}
	p.marks = p.marks[n:]
}

// cursor is the highest seq such that it and all before it are done.
func (p *prefix) cursor() uint64 {
	if len(p.marks) == 0 {
		return p.read
	}
	return p.marks[0].seq - 1
}

// held is how many events the prefix remembers.
func (p *prefix) held() int { return len(p.marks) }
