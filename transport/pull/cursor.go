package pull

import (
	"encoding/binary"
	"errors"
	"unicode/utf8"

	"innkeeper/cluster/ring"
	"innkeeper/transport/opaque"
)

// cursor is where a listing goes on. To clients it is opaque text, so that it can change.
type cursor struct {
	asOf    uint64
	listing uint64 // which listing it belongs to, see listing()
	at      Position
}

// The parts: version, as_of, listing, hash, then the name up to the end.
const (
	cursorVersion = 1
	cursorHead    = 1 + 8 + 8 + 8
	cursorNameMax = 4096
)

var errCursor = errors.New("pull: not a cursor")

// listing tells listings of different apps or prefixes apart: a cursor of one says nothing about another.
func listing(app, prefix string) uint64 { return ring.Hash(app, prefix) }

// text is the cursor for a URL.
func (c cursor) text() string {
	b := make([]byte, 0, cursorHead+len(c.at.Name))
	b = append(b, cursorVersion)
	b = binary.BigEndian.AppendUint64(b, c.asOf)
	b = binary.BigEndian.AppendUint64(b, c.listing)
	b = binary.BigEndian.AppendUint64(b, c.at.Hash)
	b = append(b, c.at.Name...)
	return opaque.Text(b)
}

// parseCursor reads what text wrote and refuses everything else.
func parseCursor(text string) (cursor, error) {
	if len(text) > opaque.Len(cursorHead+cursorNameMax) {
		return cursor{}, errCursor
	}
	b, ok := opaque.Bytes(text)
	if !ok || len(b) < cursorHead || b[0] != cursorVersion || !utf8.Valid(b[cursorHead:]) {
		return cursor{}, errCursor
	}
	return cursor{
		asOf:    binary.BigEndian.Uint64(b[1:]),
		listing: binary.BigEndian.Uint64(b[9:]),
		at:      Position{Hash: binary.BigEndian.Uint64(b[17:]), Name: string(b[cursorHead:])},
	}, nil
}
