package raftstore

import (
	"encoding/binary"
	"fmt"
)

// tableChange is the body of the table commands. A delete has neither value nor conditions.
type tableChange struct {
	Put
	NowMs  int64 // when the leader took it, unix ms: the clock by which rows expire
	remove bool
	was    *uint64 // of a swap: the version of the row that it is to meet, 0 for none
}

const tableIfAbsent byte = 1

// tableRemove is a flag of a swap: the row goes.
const tableRemove byte = 2

func (c *tableChange) append(dst []byte) []byte {
	if c.was != nil {
		return c.appendSwap(dst)
	}
	if c.remove {
		dst = appendBytes(cmdTableDelete.head(dst), c.Table)
		dst = appendBytes(dst, c.Key)
		return binary.AppendVarint(dst, c.NowMs)
	}
	dst = appendBytes(cmdTablePut.head(dst), c.Table)
	dst = appendBytes(dst, c.Key)
	dst = binary.AppendVarint(dst, c.NowMs)
	var flags byte
	if c.IfAbsent {
		flags |= tableIfAbsent
	}
	dst = append(dst, flags)
	dst = binary.AppendVarint(dst, c.ExpireMs)
	return appendBytes(dst, c.Value)
}

// A swap is the change with the version of the row that it is to meet.
func (c *tableChange) appendSwap(dst []byte) []byte {
	dst = appendBytes(cmdTableSwap.head(dst), c.Table)
	dst = appendBytes(dst, c.Key)
	dst = binary.AppendVarint(dst, c.NowMs)
	var flags byte
	if c.remove {
		flags |= tableRemove
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, *c.was)
	dst = binary.AppendVarint(dst, c.ExpireMs)
	return appendBytes(dst, c.Value)
}

// decodeTableChange reads what append wrote behind the head. The value aliases b.
func decodeTableChange(cmd command, b []byte) (*tableChange, error) {
	d := decoder{rest: b}
	c := &tableChange{remove: cmd == cmdTableDelete}
	c.Table, c.Key, c.NowMs = d.string(tableNameMax), d.string(tableKeyMax), d.varint()
	if cmd == cmdTableSwap {
		flags := d.byte()
		if flags&^tableRemove != 0 {
			d.fail(fmt.Errorf("unknown flags %#x", flags))
		}
		c.remove = flags&tableRemove != 0
		c.was = new(d.uvarint())
		c.ExpireMs = d.varint()
		c.Value = d.bytes(tableValueMax)
	} else if !c.remove {
		flags := d.byte()
		if flags&^tableIfAbsent != 0 {
			d.fail(fmt.Errorf("unknown flags %#x", flags))
		}
		c.IfAbsent = flags&tableIfAbsent != 0
		c.ExpireMs = d.varint()
		c.Value = d.bytes(tableValueMax)
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	if c.Table == "" || c.Key == "" {
		return nil, fmt.Errorf("table %q, key %q: neither may be empty", c.Table, c.Key)
	}
	return c, nil
}

// A forwarded table command is the command as it stands in the log; the leader stamps it anew. The answer is a status
// byte, uvarint version of the table, and whether the row was there.
func appendTableVerdict(dst []byte, v tableVerdict) []byte {
	return appendBool(binary.AppendUvarint(append(dst, statusTable), v.version), v.exists)
}

// decodeTableVerdict returns the verdict, or the refusal as decodeAnswer does.
func decodeTableVerdict(b []byte) (tableVerdict, error) {
	if len(b) > 0 && b[0] == statusTable {
		d := decoder{rest: b[1:]}
		v := tableVerdict{version: d.uvarint(), exists: d.bool()}
		if err := d.end(); err != nil {
			return tableVerdict{}, fmt.Errorf("%w: leader's answer: %w", ErrUnknownOutcome, err)
		}
		return v, nil
	}
	_, err := decodeAnswer(b)
	if err == nil {
		err = fmt.Errorf("%w: leader's answer is to another question", ErrUnknownOutcome)
	}
	return tableVerdict{}, err
}
