package raftstore

import "time"

// surplus is the command by which events should go now, nil for none. Events beyond the retention go when no cursor needs
// them; those beyond what is kept at most go in any case. Some slack keeps either rare.
func (s *Store) surplus() []byte {
	s.fsm.mu.Lock()
	events, bytes := s.fsm.state.events.view(), s.fsm.state.events.bytes()
	needed := s.fsm.state.cursors.slowest(events.last)
	s.fsm.mu.Unlock()
	if upTo := s.excess(events, bytes); upTo >= events.first {
		return appendFold(nil, upTo)
	}
	retention := uint64(s.config.Retention)
	if events.last <= retention {
		return nil
	}
	upTo := min(events.last-retention, needed)
	if upTo < events.first+retention/16 {
		return nil
	}
	return appendTrim(nil, upTo)
}

// excess is the seq of the last event that is not to be kept whatever cursors say, 0 for none.
func (s *Store) excess(v eventView, bytes int) (upTo uint64) {
	if kept, most := v.last+1-v.first, uint64(s.config.RetentionMax); kept > most {
		upTo = v.last - (most - most/16)
	}
	if most := s.config.RetentionMaxBytes; bytes > most {
		for i, c := range v.chunks[:len(v.chunks)-1] { // never the one that is being written
			if bytes <= most-most/16 {
				break
			}
			bytes -= c.bytes()
			upTo = max(upTo, (v.first/chunkEvents+uint64(i)+1)*chunkEvents-1)
		}
	}
	if age := s.config.RetentionAge; age > 0 {
		upTo = max(upTo, olderThan(v, time.Now(), age))
	}
	return min(upTo, v.last)
}

// olderThan is the seq of the last of those events at the beginning that are older than age, 0 while the first is not by
// some more.
func olderThan(v eventView, now time.Time, age time.Duration) (upTo uint64) {
	limit := now.Add(-age - age/16).UnixMilli()
	v.walk(v.first, func(e *rawEvent) bool {
		if e.timeMs >= limit {
			return false
		}
		limit, upTo = now.Add(-age).UnixMilli(), e.seq
		return true
	})
	return upTo
}

// considerTrim lets a leader put it in the log that old events go. The FSM looks neither at the configured retention,
// which may differ between nodes, nor at a clock.
func (s *Store) considerTrim() {
	if !s.started.Load() || !s.IsLeader() || s.trimming.Load() || s.surplus() == nil || s.trimming.Swap(true) {
		return
	}
	if !s.future(s.trim) {
		s.trimming.Store(false)
	}
}

// trim trims until nothing is left to do, since events may come in the meantime.
func (s *Store) trim() {
	defer s.trimming.Store(false)
	for {
		cmd := s.surplus()
		if cmd == nil {
			return
		}
		if _, err := s.applyFuture(cmd); err != nil || s.cut.Load() {
			s.log.Debug("events not trimmed", "error", err) // the next event tries again
			return
		}
	}
}
