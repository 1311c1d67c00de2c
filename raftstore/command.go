package raftstore

import (
	"encoding/binary"
	"fmt"
)

// A command is what a raft entry carries: a byte that says which, a byte with the version of its layout, the rest by
// hand. Numbers are never reused and layouts decode forever; testdata/commands holds one of each.
type command byte

const (
	cmdNoop         command = 1
	cmdInit         command = 2
	cmdMembership   command = 3
	cmdRecords      command = 4
	cmdCursorEnsure command = 5
	cmdCursorSet    command = 6
	cmdCursorDrop   command = 7
	cmdTrim         command = 8
	cmdCursorRewind command = 9
	cmdTablePut     command = 10
	cmdTableDelete  command = 11
	cmdFold         command = 12
	cmdRepartition  command = 13
	cmdNotice       command = 16
	cmdTableSwap    command = 17
)

const commandVersion = 1

func (c command) String() string {
	switch c {
	case cmdNoop:
		return "noop"
	case cmdInit:
		return "init"
	case cmdMembership:
		return "membership"
	case cmdRecords:
		return "records"
	case cmdCursorEnsure:
		return "cursor-ensure"
	case cmdCursorSet:
		return "cursor-set"
	case cmdCursorDrop:
		return "cursor-drop"
	case cmdTrim:
		return "trim"
	case cmdCursorRewind:
		return "cursor-rewind"
	case cmdTablePut:
		return "table-put"
	case cmdTableDelete:
		return "table-delete"
	case cmdFold:
		return "fold"
	case cmdRepartition:
		return "repartition"
	case cmdNotice:
		return "notice"
	case cmdTableSwap:
		return "table-swap"
	}
	return fmt.Sprintf("command %d", byte(c))
}

func (c command) head(dst []byte) []byte { return append(dst, byte(c), commandVersion) }

// splitCommand takes the two leading bytes off an entry.
func splitCommand(b []byte) (command, []byte, error) {
	if len(b) < 2 {
		return 0, nil, fmt.Errorf("command: %w", errShort)
	}
	c := command(b[0])
	if c < cmdNoop || c > cmdRepartition && c != cmdNotice && c != cmdTableSwap {
		return 0, nil, fmt.Errorf("unknown command %d", b[0])
	}
	if b[1] != commandVersion {
		return 0, nil, fmt.Errorf("%v: unknown version %d", c, b[1])
	}
	return c, b[2:], nil
}

// clusterInit founds the cluster. The first one counts.
type clusterInit struct {
	clusterID  string
	partitions int
}

func (c clusterInit) append(dst []byte) []byte {
	dst = appendBytes(cmdInit.head(dst), c.clusterID)
	return binary.AppendUvarint(dst, uint64(c.partitions))
}

func decodeInit(b []byte) (clusterInit, error) {
	d := decoder{rest: b}
	c := clusterInit{clusterID: d.string(stringBytesMax)}
	n := d.uvarint()
	if err := d.end(); err != nil {
		return clusterInit{}, err
	}
	if c.clusterID == "" || n == 0 || n > partitionsMax {
		return clusterInit{}, fmt.Errorf("cluster id %q with %d partitions", c.clusterID, n)
	}
	c.partitions = int(n)
	return c, nil
}

func appendMember(dst []byte, m *Member) []byte {
	dst = appendBytes(dst, m.Node)
	dst = appendBytes(dst, m.Boot)
	dst = append(dst, byte(m.State))
	dst = appendBytes(dst, m.Cluster)
	dst = appendBytes(dst, m.Gossip)
	dst = appendBytes(dst, m.Client)
	return appendBytes(dst, m.Admin)
}

func readMember(d *decoder) Member {
	m := Member{
		Node:    d.string(stringBytesMax),
		Boot:    d.string(stringBytesMax),
		State:   MemberState(d.byte()),
		Cluster: d.string(stringBytesMax),
		Gossip:  d.string(stringBytesMax),
		Client:  d.string(stringBytesMax),
		Admin:   d.string(stringBytesMax),
	}
	if d.err == nil && (m.State < Alive || m.State > Dead || m.Node == "") {
		d.fail(fmt.Errorf("member %q in state %d", m.Node, m.State))
	}
	return m
}

func (c *MembershipChange) append(dst []byte) []byte {
	dst = binary.AppendUvarint(cmdMembership.head(dst), c.IfVersion)
	dst = binary.AppendUvarint(dst, uint64(len(c.Members)))
	for i := range c.Members {
		dst = appendMember(dst, &c.Members[i])
	}
	dst = binary.AppendUvarint(dst, uint64(len(c.Forget)))
	for _, node := range c.Forget {
		dst = appendBytes(dst, node)
	}
	dst = binary.AppendUvarint(dst, uint64(len(c.Slots)))
	for _, s := range c.Slots {
		dst = binary.AppendUvarint(dst, uint64(s.Part))
		dst = appendBytes(dst, s.Owner)
		dst = appendBytes(dst, s.Follower)
		dst = appendBool(dst, s.Bump)
	}
	dst = appendBool(dst, c.Cold)
	return binary.AppendVarint(dst, c.TimeMs)
}

func decodeMembership(b []byte) (*MembershipChange, error) {
	d := decoder{rest: b}
	c := &MembershipChange{IfVersion: d.uvarint()}
	for range d.count(membersMax) {
		c.Members = append(c.Members, readMember(&d))
	}
	for range d.count(membersMax) {
		c.Forget = append(c.Forget, d.string(stringBytesMax))
	}
	for range d.count(partitionsMax) {
		part := d.uvarint()
		if part >= partitionsMax {
			d.fail(fmt.Errorf("partition %d is out of bounds", part))
		}
		c.Slots = append(c.Slots, SlotChange{
			Part:     uint32(part),
			Owner:    d.string(stringBytesMax),
			Follower: d.string(stringBytesMax),
			Bump:     d.bool(),
		})
		if d.err != nil {
			break
		}
	}
	c.Cold = d.bool()
	c.TimeMs = d.varint()
	if err := d.end(); err != nil {
		return nil, err
	}
	return c, nil
}

// cursorChange is the body of the cursor commands; seq is used by cursor-set and cursor-rewind.
type cursorChange struct {
	sink string
	seq  uint64
}

func (c cursorChange) append(dst []byte, cmd command) []byte {
	dst = appendBytes(cmd.head(dst), c.sink)
	return binary.AppendUvarint(dst, c.seq)
}

func decodeCursor(b []byte) (cursorChange, error) {
	d := decoder{rest: b}
	c := cursorChange{sink: d.string(stringBytesMax), seq: d.uvarint()}
	if err := d.end(); err != nil {
		return cursorChange{}, err
	}
	if c.sink == "" {
		return cursorChange{}, fmt.Errorf("cursor without a name")
	}
	return c, nil
}

// appendTrim asks to forget the events up to seq that no cursor still needs.
func appendTrim(dst []byte, seq uint64) []byte {
	return binary.AppendUvarint(cmdTrim.head(dst), seq)
}

// appendFold asks to forget the events up to seq, and to fold them for the cursors that still need them.
func appendFold(dst []byte, seq uint64) []byte {
	return binary.AppendUvarint(cmdFold.head(dst), seq)
}

func decodeTrim(b []byte) (uint64, error) {
	d := decoder{rest: b}
	seq := d.uvarint()
	return seq, d.end()
}

// checkCommand makes sure that every node can decode a command before it is put in the log.
func checkCommand(b []byte) error {
	cmd, body, err := splitCommand(b)
	if err != nil {
		return err
	}
	switch cmd {
	case cmdInit:
		_, err = decodeInit(body)
	case cmdMembership:
		_, err = decodeMembership(body)
	case cmdRecords:
		_, err = checkRecords(body)
	case cmdCursorEnsure, cmdCursorSet, cmdCursorDrop, cmdCursorRewind:
		_, err = decodeCursor(body)
	case cmdTrim, cmdFold:
		_, err = decodeTrim(body)
	case cmdTablePut, cmdTableDelete, cmdTableSwap:
		_, err = decodeTableChange(cmd, body)
	case cmdNotice:
		_, err = decodeNotice(body)
	case cmdRepartition:
		_, err = decodeRepartition(body)
	}
	return err
}
