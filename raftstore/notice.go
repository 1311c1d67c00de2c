package raftstore

import (
	"context"
	"encoding/binary"
	"fmt"
)

// Notice notes in a row of a table how things stand, and if that is news it tells apps of it by an event.
type Notice struct {
	Table, Key string
	Level      byte   // what the row says in its first byte; the same again is no news
	About      []byte // the rest of the row
	Kind       Kind   // LimitNear or LimitOver; 0 tells nobody
	Apps       []string
	Text       string // stands in the place of a channel
	TimeMs     int64
}

// noticeAppsMax bounds how many apps one notice tells.
const noticeAppsMax = 10_000

// Notify commits a notice. Only a leader can; another node gets ErrNotLeader. It may be repeated after an unknown outcome.
func (s *Store) Notify(ctx context.Context, n Notice) error {
	b := n.append(nil)
	if err := checkCommand(b); err != nil {
		return s.op("notify", fmt.Errorf("%w: %w", ErrInvalid, err))
	}
	_, err := s.apply(ctx, b)
	return s.op("notify", err)
}

func (n *Notice) append(dst []byte) []byte {
	dst = appendBytes(cmdNotice.head(dst), n.Table)
	dst = appendBytes(dst, n.Key)
	dst = append(dst, n.Level)
	dst = appendBytes(dst, n.About)
	dst = append(dst, byte(n.Kind))
	dst = binary.AppendUvarint(dst, uint64(len(n.Apps)))
	for _, app := range n.Apps {
		dst = appendBytes(dst, app)
	}
	dst = appendBytes(dst, n.Text)
	return binary.AppendVarint(dst, n.TimeMs)
}

func decodeNotice(b []byte) (*Notice, error) {
	d := decoder{rest: b}
	n := &Notice{Table: d.string(tableNameMax), Key: d.string(tableKeyMax), Level: d.byte(), About: d.bytes(tableValueMax - 1), Kind: Kind(d.byte())}
	count := d.uvarint()
	if count > noticeAppsMax {
		d.fail(fmt.Errorf("%d apps", count))
		count = 0
	}
	for range count {
		n.Apps = append(n.Apps, d.string(appBytesMax))
		if d.err != nil {
			break
		}
	}
	n.Text, n.TimeMs = d.string(nameBytesMax), d.varint()
	if err := d.end(); err != nil {
		return nil, err
	}
	if n.Table == "" || n.Key == "" || n.Kind != 0 && n.Kind != LimitNear && n.Kind != LimitOver {
		return nil, fmt.Errorf("notice in table %q, key %q, of kind %d", n.Table, n.Key, n.Kind)
	}
	return n, nil
}

// notice takes a notice in.
func (s *state) notice(n *Notice) tableVerdict {
	if tb := s.tables.byName[n.Table]; tb != nil {
		if old, there := tb.find(n.Key); there && len(old.value) > 0 && old.value[0] == n.Level {
			return tableVerdict{version: tb.version}
		}
	}
	v := s.tables.change(&tableChange{Put: Put{Table: n.Table, Key: n.Key, Value: append([]byte{n.Level}, n.About...)}, NowMs: n.TimeMs})
	if n.Kind == 0 {
		return v
	}
	for _, app := range n.Apps {
		s.events.append(&rawTransition{kind: n.Kind, app: []byte(app), name: []byte(n.Text), timeMs: n.TimeMs}, 0, 0)
	}
	return v
}
