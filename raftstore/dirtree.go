package raftstore

import (
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
// sequence 8, and when the root page is 0 a leaf page of its own.
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

// walk checks a page and all below it. It ends, since no page may be met twice.
func (t *pageTree) walk(id uint64) error {
	if id < 2 || id >= t.meta.pages {
		return fmt.Errorf("page %d is out of bounds", id)
	}
	start := int64(id) * int64(t.meta.pageSize)
	head, err := t.read(start, pageHeadBytes)
	if err != nil {
		return err
	}
	o := binary.NativeEndian
	flags, count, more := o.Uint16(head[8:]), int(o.Uint16(head[10:])), uint64(o.Uint32(head[12:]))
	if got := o.Uint64(head); got != id {
		return fmt.Errorf("page %d says that it is page %d", id, got)
	}
	if flags != branchPage && flags != leafPage {
		return fmt.Errorf("page %d has flags %#x", id, flags)
	}
	if more >= t.meta.pages-id {
		return fmt.Errorf("page %d is out of bounds with %d more", id, more)
	}
	for i := id; i <= id+more; i++ {
		if t.seen[i] {
			return fmt.Errorf("page %d is used twice", i)
		}
		t.seen[i] = true
	}
	size := (int64(more) + 1) * int64(t.meta.pageSize)
	if pageHeadBytes+int64(count)*elementBytes > size {
		return fmt.Errorf("page %d is too small for %d elements", id, count)
	}
	elements, err := t.read(start+pageHeadBytes, count*elementBytes)
	if err != nil {
		return err
	}
	for i := range count {
		if err := t.element(flags, elements[i*elementBytes:], start, pageHeadBytes+int64(i)*elementBytes, size); err != nil {
			return fmt.Errorf("page %d: element %d: %w", id, i, err)
		}
	}
	return nil
}

// element checks one element e, at an offset in a page of some size that starts at a place in the file.
func (t *pageTree) element(flags uint16, e []byte, start, offset, size int64) error {
	o := binary.NativeEndian
	if flags == branchPage {
		if offset+int64(o.Uint32(e))+int64(o.Uint32(e[4:])) > size {
			return fmt.Errorf("key is out of bounds")
		}
		return t.walk(o.Uint64(e[8:]))
	}
	value, valueSize := offset+int64(o.Uint32(e[4:]))+int64(o.Uint32(e[8:])), int64(o.Uint32(e[12:]))
	if value+valueSize > size {
		return fmt.Errorf("value is out of bounds")
	}
	if o.Uint32(e)&bucketElement == 0 {
		return nil
	}
	if valueSize < bucketBytes {
		return fmt.Errorf("bucket has %d bytes", valueSize)
	}
	bucket, err := t.read(start+value, int(valueSize))
	if err != nil {
		return err
	}
	if root := o.Uint64(bucket); root != 0 {
		return t.walk(root)
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
		if int64(offset)+int64(o.Uint32(e[4:]))+int64(o.Uint32(e[8:]))+int64(o.Uint32(e[12:])) > int64(len(page)) {
			return fmt.Errorf("element %d of the bucket is out of bounds", i)
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
