package raftstore

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// The occupied set keeps every occupied channel in the order of enumeration: by hash, app, name. Each partition is a
// sorted run of blocks of a few kilobytes, each a plain byte string of entries one after the other, so that ten
// million channels are some two hundred thousand pointers to the garbage collector and a page of an enumeration is a
// walk. An entry is
//
//	length of the entry (2 bytes, little endian), hash (8 bytes, little endian), uvarint length, app, uvarint length,
//	name, uvarint seq, varint since (unix ms)
//
// Blocks are copied on write: freeze hands out the present state in O(1) and a block (or the list of blocks) is copied
// when it is written for the first time after that.

const (
	blockBytes     = 4 << 10 // a block beyond this is split
	entryHeadBytes = 2 + 8
	blockHeadBytes = 32
)

// key is a channel's place in the order.
type key struct {
	hash      uint64
	app, name []byte
}

func (k key) compare(o key) int {
	if c := cmp.Compare(k.hash, o.hash); c != 0 {
		return c
	}
	if c := bytes.Compare(k.app, o.app); c != 0 {
		return c
	}
	return bytes.Compare(k.name, o.name)
}

// entry is an occupied channel; app and name alias the block.
type entry struct {
	key
	seq     uint64
	sinceMs int64
}

func (e *entry) size() int {
	var b [binary.MaxVarintLen64]byte
	return entryHeadBytes +
		binary.PutUvarint(b[:], uint64(len(e.app))) + len(e.app) +
		binary.PutUvarint(b[:], uint64(len(e.name))) + len(e.name) +
		binary.PutUvarint(b[:], e.seq) + binary.PutVarint(b[:], e.sinceMs)
}

// append lays the entry out; size is what size() says.
func (e *entry) append(dst []byte, size int) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, uint16(size))
	dst = binary.LittleEndian.AppendUint64(dst, e.hash)
	dst = appendBytes(dst, e.app)
	dst = appendBytes(dst, e.name)
	dst = binary.AppendUvarint(dst, e.seq)
	return binary.AppendVarint(dst, e.sinceMs)
}

func entrySize(b []byte) int    { return int(binary.LittleEndian.Uint16(b)) }
func entryHash(b []byte) uint64 { return binary.LittleEndian.Uint64(b[2:]) }

// readEntry reads the entry at the start of b, which was written by append.
func readEntry(b []byte) (entry, error) {
	if len(b) < entryHeadBytes || entrySize(b) > len(b) || entrySize(b) < entryHeadBytes {
		return entry{}, errShort
	}
	d := decoder{rest: b[entryHeadBytes:entrySize(b)]}
	e := entry{key: key{hash: entryHash(b), app: d.bytes(appBytesMax), name: d.bytes(nameBytesMax)}}
	e.seq = d.uvarint()
	e.sinceMs = d.varint()
	return e, d.end()
}

// mustRead is readEntry of what this set has laid out itself.
func mustRead(b []byte) entry {
	e, err := readEntry(b)
	if err != nil {
		panic(fmt.Sprintf("raftstore: occupied set: %v", err))
	}
	return e
}

// block is a run of entries. It may be written while its generation is the partition's.
type block struct {
	gen  uint64
	data []byte
}

// blockRef is a block with the hash of its first entry, so that finding a block stays within one array.
type blockRef struct {
	first uint64
	*block
}

// compareFirst compares the block's first entry with k.
func (r blockRef) compareFirst(k key) int {
	if r.first != k.hash {
		return cmp.Compare(r.first, k.hash)
	}
	return mustRead(r.data).compare(k)
}

// find says where in the block k is, or where it belongs.
func (b *block) find(k key) (off int, found bool) {
	for off < len(b.data) {
		rest := b.data[off:]
		if h := entryHash(rest); h > k.hash {
			return off, false
		} else if h == k.hash {
			if c := mustRead(rest).compare(k); c >= 0 {
				return off, c == 0
			}
		}
		off += entrySize(rest)
	}
	return off, false
}

// partition is the occupied set of one partition.
type partition struct {
	gen      uint64 // blocks and list of an older generation are shared with a frozen view
	listGen  uint64
	list     []blockRef
	count    int // entries
	capacity int // bytes allocated to the blocks in list
}

// frozen is a partition at one moment. It never changes.
type frozen struct {
	list  []blockRef
	count int
}

func (p *partition) freeze() frozen {
	p.gen++
	return frozen{list: p.list, count: p.count}
}

// locate finds the block that holds k, or would: the last one that starts at or before k.
func locate(list []blockRef, k key) int {
	i, found := slices.BinarySearchFunc(list, k, blockRef.compareFirst)
	if !found && i > 0 {
		i--
	}
	return i
}

func (p *partition) get(k key) (entry, bool) {
	if len(p.list) == 0 {
		return entry{}, false
	}
	b := p.list[locate(p.list, k)].block
	off, found := b.find(k)
	if !found {
		return entry{}, false
	}
	return mustRead(b.data[off:]), true
}

// own makes the list of blocks writable.
func (p *partition) own() {
	if p.listGen != p.gen {
		p.list = slices.Clone(p.list)
		p.listGen = p.gen
	}
}

// resize gives block i a writable buffer of n bytes: the first off of the old one, then room, then what followed
// after off + cut.
func (p *partition) resize(i, off, cut, room int) *block {
	p.own()
	old := p.list[i].block
	n := len(old.data) - cut + room
	if old.gen == p.gen && n <= cap(old.data) && n >= cap(old.data)/2 {
		data := old.data[:max(n, len(old.data))]
		copy(data[off+room:], old.data[off+cut:])
		old.data = data[:n]
		return old
	}
	b := &block{gen: p.gen, data: make([]byte, n, n+n/8)}
	copy(b.data, old.data[:off])
	copy(b.data[off+room:], old.data[off+cut:])
	p.capacity += cap(b.data) - cap(old.data)
	p.list[i].block = b
	return b
}

// insert adds e unless its channel is there already.
func (p *partition) insert(e *entry) bool {
	size := e.size()
	if len(p.list) == 0 {
		p.count++
		p.own()
		b := &block{gen: p.gen, data: e.append(make([]byte, 0, size), size)}
		p.capacity += cap(b.data)
		p.list = append(p.list, blockRef{first: e.hash, block: b})
		return true
	}
	i := locate(p.list, e.key)
	off, found := p.list[i].find(e.key)
	if found {
		return false
	}
	p.count++
	b := p.resize(i, off, 0, size)
	e.append(b.data[off:off:off+size], size)
	if off == 0 {
		p.list[i].first = e.hash
	}
	if len(b.data) > blockBytes {
		p.split(i)
	}
	return true
}

// split cuts block i in two near its middle, unless it holds one entry only.
func (p *partition) split(i int) {
	b := p.list[i].block
	cut := 0
	for cut < len(b.data)/2 {
		cut += entrySize(b.data[cut:])
	}
	if cut == len(b.data) {
		cut = 0 // the last entry reaches over the middle: cut before it
		for next := entrySize(b.data); next < len(b.data); next = cut + entrySize(b.data[cut:]) {
			cut = next
		}
		if cut == 0 {
			return
		}
	}
	left := &block{gen: p.gen, data: slices.Clone(b.data[:cut])}
	right := &block{gen: p.gen, data: slices.Clone(b.data[cut:])}
	p.capacity += cap(left.data) + cap(right.data) - cap(b.data)
	p.list[i].block = left
	p.list = slices.Insert(p.list, i+1, blockRef{first: entryHash(right.data), block: right})
}

// remove takes k out and returns what it was.
func (p *partition) remove(k key) (seq uint64, sinceMs int64, found bool) {
	if len(p.list) == 0 {
		return 0, 0, false
	}
	i := locate(p.list, k)
	off, found := p.list[i].find(k)
	if !found {
		return 0, 0, false
	}
	e := mustRead(p.list[i].data[off:])
	p.count--
	b := p.resize(i, off, entrySize(p.list[i].data[off:]), 0)
	switch {
	case len(b.data) == 0:
		p.capacity -= cap(b.data)
		p.list = slices.Delete(p.list, i, i+1)
	case off == 0:
		p.list[i].first = entryHash(b.data)
		fallthrough
	default:
		p.merge(i)
	}
	return e.seq, e.sinceMs, true
}

// merge joins a block that has become small with the next one, when both fit in one with room to grow.
func (p *partition) merge(i int) {
	if len(p.list[i].data) > blockBytes/4 || i+1 == len(p.list) ||
		len(p.list[i].data)+len(p.list[i+1].data) > blockBytes*3/4 {
		return
	}
	next := p.list[i+1].block
	b := p.resize(i, len(p.list[i].data), 0, len(next.data))
	copy(b.data[len(b.data)-len(next.data):], next.data)
	p.capacity -= cap(next.data)
	p.list = slices.Delete(p.list, i+1, i+2)
}

// load appends an entry in its laid-out form while a snapshot is restored. Entries come in order, prev being the one
// before in this partition, nil for the first.
func (p *partition) load(b, prev []byte) error {
	e, err := readEntry(b)
	if err != nil {
		return err
	}
	if prev != nil && mustRead(prev).compare(e.key) >= 0 {
		return fmt.Errorf("occupied channels are out of order")
	}
	p.own()
	p.count++
	last := len(p.list) - 1
	if last < 0 || len(p.list[last].data)+len(b) > blockBytes*7/8 {
		p.list = append(p.list, blockRef{first: e.hash, block: &block{gen: p.gen}})
		last++
	}
	old := cap(p.list[last].data)
	p.list[last].data = append(p.list[last].data, b...)
	p.capacity += cap(p.list[last].data) - old
	return nil
}

// after walks the entries behind k in order until yield says stop. It reports whether it came to the end.
func (f frozen) after(k key, yield func(entry) bool) bool {
	if len(f.list) == 0 {
		return true
	}
	i := locate(f.list, k)
	off, found := f.list[i].find(k)
	if found {
		off += entrySize(f.list[i].data[off:])
	}
	for ; i < len(f.list); i++ {
		for data := f.list[i].data[off:]; len(data) > 0; data = data[entrySize(data):] {
			if !yield(mustRead(data)) {
				return false
			}
		}
		off = 0
	}
	return true
}

// bytes is the memory of the partition: what the blocks hold, their headers and the list.
func (p *partition) bytes() int { return p.capacity + len(p.list)*blockHeadBytes + cap(p.list)*16 }
