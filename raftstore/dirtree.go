package raftstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
)

// pageTree walks the tree of a bbolt file without bbolt. When bbolt opens a file it looks for free pages on a goroutine
// of its own, where a damaged page is a panic that nobody can catch; so what it relies on there is made sure of before.
//
// A page is a header (page id 8 bytes, flags 2, number of elements 2, number of pages that follow and belong to it 4)
// and elements of 16 bytes, which point to their data behind them: in a branch offset 4, key size 4, page 8; in a leaf
// flags 4, offset 4, key size 4, value size 4. The value of a leaf element with flag 1 is a bucket: root page 8,
// sequence 8, and when the root page is 0 a leaf page of its own. Keys go up; those below a branch's element are from its
// key up to, not including, the next element's.
type pageTree struct {
	file *os.File
	meta boltMeta
	seen []bool // by page
}

const (
	pageHeadBytes = 16
	elementBytes  = 16
	bucketBytes   = 16

	branchPage    = 1
	leafPage      = 2
	bucketElement = 1
)

// treePage is one page with all that belongs to it.
type treePage struct {
	id          uint64
	start, size int64 // in the file
	leaf        bool
	count       int
	elements    []byte
}

// walk checks a page and all below it, with keys from low up to high (nil: no bound). It ends, since no page may be met
// twice.
func (t *pageTree) walk(id uint64, low, high []byte) error {
	p, err := t.page(id)
	if err != nil {
		return err
	}
	keys := make([][]byte, p.count)
	for i := range keys {
		if keys[i], err = t.key(p, i); err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		if i > 0 && bytes.Compare(keys[i-1], keys[i]) >= 0 || i == 0 && bytes.Compare(keys[i], low) < 0 ||
			high != nil && bytes.Compare(keys[i], high) >= 0 {
			return fmt.Errorf("page %d: element %d is out of order", id, i)
		}
	}
	for i := range p.count {
		next := high
		if i+1 < p.count {
			next = keys[i+1]
		}
		if err := t.below(p, i, keys[i], next); err != nil {
			return fmt.Errorf("page %d: element %d: %w", id, i, err)
		}
	}
	return nil
}

// page reads the head and the elements of a page and marks it as seen.
func (t *pageTree) page(id uint64) (*treePage, error) {
	if id < 2 || id >= t.meta.pages {
		return nil, fmt.Errorf("page %d is out of bounds", id)
	}
	p := &treePage{id: id, start: int64(id) * int64(t.meta.pageSize)}
	head, err := t.read(p.start, pageHeadBytes)
	if err != nil {
		return nil, err
	}
	o := binary.NativeEndian
	flags, more := o.Uint16(head[8:]), uint64(o.Uint32(head[12:]))
	p.leaf, p.count = flags == leafPage, int(o.Uint16(head[10:]))
	p.size = (int64(more) + 1) * int64(t.meta.pageSize)
	switch got := o.Uint64(head); {
	case got != id:
		return nil, fmt.Errorf("page %d says that it is page %d", id, got)
	case flags != branchPage && flags != leafPage || !p.leaf && p.count == 0:
		return nil, fmt.Errorf("page %d has flags %#x and %d elements", id, flags, p.count)
	case more >= t.meta.pages-id:
		return nil, fmt.Errorf("page %d is out of bounds with %d more", id, more)
	case pageHeadBytes+int64(p.count)*elementBytes > p.size:
		return nil, fmt.Errorf("page %d is too small for %d elements", id, p.count)
	}
	for i := id; i <= id+more; i++ {
		if t.seen[i] {
			return nil, fmt.Errorf("page %d is used twice", i)
		}
		t.seen[i] = true
	}
	p.elements, err = t.read(p.start+pageHeadBytes, p.count*elementBytes)
	return p, err
}

// element is element i with its place in the page.
func (p *treePage) element(i int) (e []byte, offset int64) {
	return p.elements[i*elementBytes:][:elementBytes], pageHeadBytes + int64(i)*elementBytes
}

func (t *pageTree) key(p *treePage, i int) ([]byte, error) {
	e, offset := p.element(i)
	if p.leaf {
		e = e[4:]
	}
	o := binary.NativeEndian
	at, size := offset+int64(o.Uint32(e)), int64(o.Uint32(e[4:]))
	if at+size > p.size {
		return nil, fmt.Errorf("key of element %d is out of bounds", i)
	}
	return t.read(p.start+at, int(size))
}

// below checks what element i points to.
func (t *pageTree) below(p *treePage, i int, key, next []byte) error {
	o := binary.NativeEndian
	e, offset := p.element(i)
	if !p.leaf {
		return t.walk(o.Uint64(e[8:]), key, next)
	}
	at, size := offset+int64(o.Uint32(e[4:]))+int64(o.Uint32(e[8:])), int64(o.Uint32(e[12:]))
	switch flags := o.Uint32(e); {
	case at+size > p.size:
		return fmt.Errorf("value is out of bounds")
	case flags == 0:
		return nil
	case flags != bucketElement || size < bucketBytes:
		return fmt.Errorf("bucket with flags %#x and %d bytes", flags, size)
	}
	bucket, err := t.read(p.start+at, int(size))
	if err != nil {
		return err
	}
	if root := o.Uint64(bucket); root != 0 {
		return t.walk(root, nil, nil)
	}
	return checkInline(bucket[bucketBytes:])
}

// checkInline checks the page of a bucket that is kept within its parent.
func checkInline(page []byte) error {
	if len(page) < pageHeadBytes {
		return fmt.Errorf("bucket ends early")
	}
	o := binary.NativeEndian
	count := int(o.Uint16(page[10:]))
	if o.Uint16(page[8:]) != leafPage || pageHeadBytes+count*elementBytes > len(page) {
		return fmt.Errorf("bucket with flags %#x and %d elements in %d bytes", o.Uint16(page[8:]), count, len(page))
	}
	for i := range count {
		offset := pageHeadBytes + i*elementBytes
		e := page[offset:]
		if o.Uint32(e) != 0 || int64(offset)+int64(o.Uint32(e[4:]))+int64(o.Uint32(e[8:]))+int64(o.Uint32(e[12:])) > int64(len(page)) {
			return fmt.Errorf("element %d of the bucket is no value within it", i)
		}
	}
	return nil
}

func (t *pageTree) read(at int64, n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := t.file.ReadAt(b, at); err != nil {
		return nil, fmt.Errorf("read at %d: %w", at, err)
	}
	return b, nil
}
