package raftstore

import (
	"fmt"

	"innkeeper/cluster/ring"
)

// state is everything that follows from the log. It is a pure function of the entries applied: no clock, no
// configuration, no randomness, no order of maps.
type state struct {
	index uint64 // raft index of the last entry applied
	placement
	taken      []uint64 // per partition: number of the last record taken in the present epoch
	parts      []partition
	occupied   int         // channels in parts
	open       []partition // by partition as well: channels with an Opened that has not ended
	opened     int         // channels in open
	events     eventLog
	cursors    cursors
	rewound    map[string]uint64 // where a sink's cursor was that has not got there again since it was moved back
	fold       fold              // of events that are not retained any more
	reach      uint64            // CursorReach, less in tests
	former     []formerCluster   // whose log this was; see eventIDs
	tables     tables
	misplaced  uint64 // transitions dropped since their channel is not of the record's partition
	repetitive uint64 // transitions dropped since the channel was in that state already
}

func newState() *state {
	return &state{
		events: eventLog{first: 1}, cursors: cursors{}, rewound: map[string]uint64{}, reach: CursorReach, tables: newTables(),
	}
}

func (s *state) view() *View {
	return &View{
		Index:     s.index,
		ClusterID: s.clusterID,
		Members:   s.members,
		Table:     ring.Table{Version: s.version, Slots: s.slots, Began: s.began, Before: s.before},
		ColdMs:    s.coldMs,
		LastSeq:   s.events.last,
	}
}

// apply applies one command. placed tells whether members, table or cluster id changed. err means that the command
// cannot be understood, and the state is not to be used any more.
func (s *state) apply(b []byte) (result any, placed bool, err error) {
	cmd, body, err := splitCommand(b)
	if err != nil {
		return nil, false, err
	}
	switch cmd {
	case cmdNoop:
		return nil, false, nil
	case cmdInit:
		c, err := decodeInit(body)
		if err != nil {
			return nil, false, fmt.Errorf("%v: %w", cmd, err)
		}
		return nil, s.init(c), nil
	case cmdMembership:
		c, err := decodeMembership(body)
		if err != nil {
			return nil, false, fmt.Errorf("%v: %w", cmd, err)
		}
		refused := s.place(c)
		return refused, refused == nil, nil
	case cmdRecords:
		verdicts, err := s.records(body)
		if err != nil {
			return nil, false, fmt.Errorf("%v: %w", cmd, err)
		}
		return verdicts, false, nil
	case cmdCursorEnsure, cmdCursorSet, cmdCursorDrop, cmdCursorRewind:
		c, err := decodeCursor(body)
		if err != nil {
			return nil, false, fmt.Errorf("%v: %w", cmd, err)
		}
		return s.cursor(cmd, c), false, nil
	case cmdTrim:
		seq, err := decodeTrim(body)
		if err != nil {
			return nil, false, fmt.Errorf("%v: %w", cmd, err)
		}
		s.events.trim(min(seq, s.cursors.slowest(s.events.last)))
		return nil, false, nil
	case cmdFold:
		seq, err := decodeTrim(body)
		if err != nil {
			return nil, false, fmt.Errorf("%v: %w", cmd, err)
		}
		s.forget(seq)
		return nil, false, nil
	case cmdNotice:
		n, err := decodeNotice(body)
		if err != nil {
			return nil, false, fmt.Errorf("%v: %w", cmd, err)
		}
		return s.notice(n), false, nil
	case cmdTablePut, cmdTableDelete, cmdTableSwap:
		c, err := decodeTableChange(cmd, body)
		if err != nil {
			return nil, false, fmt.Errorf("%v: %w", cmd, err)
		}
		return s.tables.change(c), false, nil
	case cmdRepartition:
		c, err := decodeRepartition(body)
		if err != nil {
			return nil, false, fmt.Errorf("%v: %w", cmd, err)
		}
		refused := s.repartition(c)
		return refused, refused == nil, nil
	}
	return nil, false, fmt.Errorf("%v is not handled", cmd)
}

// init founds the cluster if nobody has.
func (s *state) init(c clusterInit) bool {
	if s.clusterID != "" {
		return false
	}
	s.found(c)
	s.taken = make([]uint64, c.partitions)
	s.parts = make([]partition, c.partitions)
	s.open = make([]partition, c.partitions)
	return true
}

func (s *state) place(c *MembershipChange) error {
	bumped, err := s.change(c)
	if err != nil {
		return err
	}
	for _, part := range bumped {
		s.taken[part] = 0
	}
	return nil
}

func (s *state) cursor(cmd command, c cursorChange) any {
	switch cmd {
	case cmdCursorEnsure:
		return s.cursors.ensure(c.sink, s.events.first)
	case cmdCursorSet:
		if err := s.cursors.set(c.sink, c.seq, s.events.last); err != nil {
			return err
		}
		if s.cursors[c.sink] >= s.rewound[c.sink] {
			delete(s.rewound, c.sink)
		}
		s.tidyFold()
	case cmdCursorRewind:
		before := s.cursors[c.sink]
		if err := s.cursors.rewind(c.sink, c.seq, s.events.first); err != nil {
			return err
		}
		if s.cursors[c.sink] < before {
			s.rewound[c.sink] = max(before, s.rewound[c.sink])
		}
	case cmdCursorDrop:
		delete(s.cursors, c.sink)
		delete(s.rewound, c.sink)
		s.tidyFold()
	}
	return nil
}

// records takes each record that is the next one of the current epoch of its partition, says done to those it has, and
// refuses the others.
func (s *state) records(body []byte) ([]verdict, error) {
	verdicts := make([]verdict, 0, 16)
	for d := (decoder{rest: body}); len(d.rest) > 0; {
		r := readRecord(&d)
		if d.err != nil {
			return nil, d.err
		}
		v := s.judge(&r)
		if v.outcome == 0 {
			if err := s.take(&r); err != nil {
				return nil, err
			}
			s.taken[r.part] = r.n
			v = verdict{outcomeDone, r.n}
		}
		verdicts = append(verdicts, v)
	}
	return verdicts, nil
}

// judge says why a record is not to be taken; no outcome means that it is.
func (s *state) judge(r *record) verdict {
	if int(r.part) >= len(s.slots) || r.epoch != s.slots[r.part].Epoch {
		return verdict{outcome: outcomeEpochOver}
	}
	switch n := s.taken[r.part]; {
	case r.n <= n:
		return verdict{outcomeDone, n}
	case r.n > n+1:
		return verdict{outcomeGap, n}
	}
	return verdict{}
}

func (s *state) take(r *record) error {
	d := decoder{rest: r.body}
	var t rawTransition
	for range r.count {
		t.read(&d)
		if d.err != nil {
			return d.err
		}
		s.transition(r.part, &t)
	}
	return d.end()
}

// transition enforces alternation: what is already so is dropped.
func (s *state) transition(part uint32, t *rawTransition) {
	k := key{hash: ring.Hash(text(t.app), text(t.name)), app: t.app, name: t.name}
	if ring.Partition(k.hash, len(s.parts)) != part {
		s.misplaced++
		return
	}
	set, n := &s.parts[part], &s.occupied
	if t.kind == Opened || t.kind == Closed {
		set, n = &s.open[part], &s.opened
	}
	if t.kind.ends() {
		seq, sinceMs, found := set.remove(k)
		if !found {
			s.repetitive++
			return
		}
		*n--
		s.events.append(t, seq, sinceMs)
		return
	}
	if !set.insert(&entry{key: k, seq: s.events.last + 1, sinceMs: t.timeMs}) {
		s.repetitive++
		return
	}
	*n++
	s.events.append(t, 0, 0)
}
