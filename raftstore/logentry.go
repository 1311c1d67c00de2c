package raftstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/hashicorp/raft"
)

// A stored entry is
//
//	CRC-32C of the rest (4 bytes, little endian), version, type, uvarint term, varint time appended (unix ns, 0: none),
//	uvarint length, extensions, data
const logEntryVersion = 1

func appendLogEntry(dst []byte, l *raft.Log) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, logEntryVersion, byte(l.Type))
	dst = binary.AppendUvarint(dst, l.Term)
	var ns int64
	if !l.AppendedAt.IsZero() {
		ns = l.AppendedAt.UnixNano()
	}
	dst = binary.AppendVarint(dst, ns)
	dst = appendBytes(dst, l.Extensions)
	dst = append(dst, l.Data...)
	binary.LittleEndian.PutUint32(dst[start:], crc32.Checksum(dst[start+4:], castagnoli))
	return dst
}

// decodeLogEntry fills in l, whose bytes alias b.
func decodeLogEntry(b []byte, index uint64, l *raft.Log) error {
	if len(b) < 6 {
		return fmt.Errorf("entry %d: %w", index, errShort)
	}
	if got, want := crc32.Checksum(b[4:], castagnoli), binary.LittleEndian.Uint32(b); got != want {
		return fmt.Errorf("entry %d: checksum %08x, want %08x", index, got, want)
	}
	d := decoder{rest: b[4:]}
	if v := d.byte(); v != logEntryVersion {
		return fmt.Errorf("entry %d: unknown version %d", index, v)
	}
	*l = raft.Log{Index: index, Type: raft.LogType(d.byte()), Term: d.uvarint()}
	if ns := d.varint(); ns != 0 {
		l.AppendedAt = time.Unix(0, ns)
	}
	if ext := d.bytes(len(d.rest)); len(ext) > 0 {
		l.Extensions = ext
	}
	l.Data = d.rest
	if d.err != nil {
		return fmt.Errorf("entry %d: %w", index, d.err)
	}
	return nil
}
