package meter

import "encoding/binary"

const (
	// gapMax is how long after a sample nobody knows any more what was open, in ms. Longer silences, as when the whole
	// cluster was down, count for nothing.
	gapMax = 10_000
	// bootsKept is for how long it is remembered what of a boot has been counted, after it was heard of last, in ms.
	bootsKept = 600_000
)

// series is what is kept of one app or one account.
type series struct {
	atMs  int64           // of the last sample
	last  Now             // then
	now   [numUnits]Row   // of the running interval of each unit, without that of the finer units
	boots map[string]*sum // of what each boot counted for the app, or for all apps of the account, what is in rows
}

type sum struct {
	counted Counters
	seenMs  int64
}

// newSeries begins one. It had nothing open before, which is known for the running minute.
func newSeries(nowMs int64) *series {
	s := &series{atMs: nowMs, boots: map[string]*sum{}}
	if since := nowMs - Minute.Start(nowMs); since > 0 {
		s.now[Minute].sample(Now{}, since)
	}
	return s
}

// closed is an interval that is over.
type closed struct {
	unit  Unit
	start int64
	row   Row
}

// pass moves on to a moment and gives what was completed on the way, finest first.
func (s *series) pass(nowMs int64, done []closed) []closed {
	start := Minute.Start(s.atMs)
	end := Minute.End(start)
	if nowMs < end {
		return done
	}
	if nowMs-s.atMs <= gapMax && s.now[Minute].Samples > 0 {
		s.now[Minute].sample(s.last, end-s.atMs)
	}
	for u := Minute; u < numUnits; u++ {
		start := u.Start(s.atMs)
		if nowMs < u.End(start) {
			break
		}
		row := s.now[u]
		s.now[u] = Row{}
		if row.Samples == 0 {
			continue
		}
		done = append(done, closed{u, start, row})
		if u < Month {
			s.now[u+1].Merge(&row)
		}
	}
	if nowMs-s.atMs <= gapMax {
		s.atMs = end
	} else {
		s.atMs = nowMs
	}
	return done
}

// sample adds what is seen now. extreme says that it is the most or the least of its minute so far.
func (s *series) sample(nowMs int64, v Now) (extreme bool) {
	r := &s.now[Minute]
	extreme = r.Samples == 0 || r.Channels.beyond(v.Channels) || r.Connections.beyond(v.Connections)
	ms := nowMs - s.atMs
	if ms > gapMax {
		ms = 0
	}
	r.sample(v, ms)
	s.atMs, s.last = nowMs, v
	return extreme
}

// boot is what of a boot is in the rows. One that is new here was seen at seenMs.
func (s *series) boot(id string, seenMs int64) *sum {
	b := s.boots[id]
	if b == nil {
		b = &sum{seenMs: seenMs}
		s.boots[id] = b
	}
	return b
}

// count adds what a boot counted since it was looked at last.
func (s *series) count(nowMs int64, id string, c *Counters) (grew bool) {
	b := s.boot(id, nowMs)
	b.seenMs = nowMs
	d, grew := c.since(&b.counted)
	if grew {
		s.now[Minute].Counters.Add(&d)
		b.counted = *c
	}
	return grew
}

// running is the interval of a unit that is not over.
func (s *series) running(u Unit) Row {
	var r Row
	for ; u >= Minute; u-- {
		r.Merge(&s.now[u])
	}
	return r
}

// idle says that nothing would be lost if the series were forgotten.
func (s *series) idle() bool {
	r := s.running(Month)
	return !r.Active() && s.last == Now{} && len(s.boots) == 0
}

func (s *series) append(dst []byte) []byte {
	for _, v := range [...]int64{s.atMs, s.last.Channels, s.last.Connections} {
		dst = binary.AppendUvarint(dst, uint64(v))
	}
	for u := range s.now {
		dst = s.now[u].append(dst)
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.boots)))
	for id, b := range s.boots {
		dst = binary.AppendUvarint(appendString(dst, id), uint64(b.seenMs))
		dst = b.counted.append(dst)
	}
	return dst
}

func (r *reader) series() *series {
	s := &series{boots: map[string]*sum{}}
	s.atMs, s.last = r.int(), Now{r.int(), r.int()}
	for u := range s.now {
		s.now[u] = r.row()
	}
	for range r.count(3) {
		id := r.string()
		s.boots[id] = &sum{seenMs: r.int(), counted: r.counters()}
	}
	return s
}
