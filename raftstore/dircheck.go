package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"runtime/debug"
)

// bbolt maps its file into memory: a file that ends early is not an error to it but a fault at some later read, which
// ends the process without a word. So its header is read here before, with the layout of bbolt's meta pages: page 0 and
// page 1 each start with a page header of 16 bytes and then hold, in the byte order of the machine, magic, version,
// page size and flags (4 bytes each), root page, root sequence, freelist page, number of pages, transaction and the
// FNV-1a of all that (8 bytes each). The valid one of the later transaction counts.
const (
	metaOffset  = 16
	metaBytes   = 64
	metaMagic   = 0xED0CDAED
	metaVersion = 2
)

type boltMeta struct {
	pageSize uint32
	root     uint64 // page of the root bucket
	pages    uint64
	tx       uint64
}

func readBoltMeta(b []byte) (boltMeta, bool) {
	o := binary.NativeEndian
	if len(b) < metaBytes || o.Uint32(b) != metaMagic || o.Uint32(b[4:]) != metaVersion {
		return boltMeta{}, false
	}
	h := fnv.New64a()
	h.Write(b[:56])
	if h.Sum64() != o.Uint64(b[56:]) {
		return boltMeta{}, false
	}
	return boltMeta{pageSize: o.Uint32(b[8:]), root: o.Uint64(b[16:]), pages: o.Uint64(b[40:]), tx: o.Uint64(b[48:])}, true
}

// checkLogFile returns an error unless the file is whole by its own header. It may be missing or empty only if the
// node is new (known is false).
func checkLogFile(path string, known bool) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) && !known {
		return nil
	}
	if errors.Is(err, os.ErrNotExist) {
		return &CorruptError{File: path, Cause: errors.New("it is missing, yet this dir has been a node's")}
	}
	if err != nil {
		return fmt.Errorf("open log file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open log file: %w", err)
	}
	size := info.Size()
	if size == 0 && !known {
		return nil
	}
	meta, found := findBoltMeta(f, size)
	if !found {
		// Shorter than what bbolt writes first (4 pages): cut off. Longer: overwritten.
		if least := 4 * int64(os.Getpagesize()); size < least {
			return &TruncatedError{File: path, Size: size, Needed: least}
		}
		return &CorruptError{File: path, Cause: errors.New("no valid header")}
	}
	if needed := int64(meta.pages) * int64(meta.pageSize); size < needed {
		return &TruncatedError{File: path, Size: size, Needed: needed}
	}
	tree := pageTree{file: f, meta: meta, seen: make([]bool, meta.pages)}
	if err := tree.walk(meta.root, nil, nil); err != nil {
		return &CorruptError{File: path, Cause: err}
	}
	return nil
}

// findBoltMeta returns the valid meta page of the latest transaction. Page 1 is looked for at every page size, since
// the page that tells the size may be the damaged one.
func findBoltMeta(f *os.File, size int64) (latest boltMeta, found bool) {
	var b [metaBytes]byte
	try := func(at int64) {
		if at+metaOffset+metaBytes > size {
			return
		}
		if _, err := f.ReadAt(b[:], at+metaOffset); err != nil {
			return
		}
		if m, ok := readBoltMeta(b[:]); ok && (!found || m.tx > latest.tx) {
			latest, found = m, true
		}
	}
	try(0)
	for pageSize := int64(1 << 10); pageSize <= 64<<10; pageSize <<= 1 {
		try(pageSize)
	}
	return latest, found
}

// guard runs fn on a file mapped into memory and turns what damage causes there, panics of bbolt and faults, into a
// CorruptError.
func guard(file string, fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if r := recover(); r != nil {
			cause, ok := r.(error)
			if !ok {
				cause = fmt.Errorf("%v", r)
			}
			err = &CorruptError{File: file, Cause: cause}
		}
	}()
	return fn()
}
