package meter

import (
	"encoding/binary"
	"errors"
)

// Counter names one of the things that are counted.
type Counter int

// The counters. They are on disk and on links: the order is never changed, new ones come last.
const (
	ChannelsOpened Counter = iota
	ChannelsRefused
	ConnectionsOpened
	ConnectionsRefused
	InboundRealtime      // messages
	InboundRealtimeBytes // of their data
	InboundREST
	InboundRESTBytes
	OutboundRealtime
	OutboundRealtimeBytes
	TokenRequests // succeeded
	TokenRequestsFailed
	APIRequests // all others; succeeded
	APIRequestsFailed
	TokenRequestsRefused // because of a limit
	APIRequestsRefused
	InboundRealtimeRefused // messages, because of a limit
	InboundRealtimeFailed  // for another reason
	InboundRESTRefused
	InboundRESTFailed
	ConnectionsFailed // refused, but not because of a limit

	numCounters
)

// Counters are totals since some beginning.
type Counters [numCounters]uint64

// Add adds o.
func (c *Counters) Add(o *Counters) {
	for i, v := range o {
		c[i] += v
	}
}

// sub takes o away, as far as it is there.
func (c *Counters) sub(o *Counters) {
	for i, v := range o {
		c[i] -= min(c[i], v)
	}
}

// since is how much each counter grew over base. One that went back did not.
func (c *Counters) since(base *Counters) (d Counters, grew bool) {
	for i, v := range c {
		if v > base[i] {
			d[i], grew = v-base[i], true
		}
	}
	return d, grew
}

// append writes the number of counters that are not zero, then each with its number.
func (c *Counters) append(dst []byte) []byte {
	n := 0
	for _, v := range c {
		if v != 0 {
			n++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	for i, v := range c {
		if v != 0 {
			dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(i)), v)
		}
	}
	return dst
}

var errBad = errors.New("meter: cannot be read: cut short, or not written by this version")

// reader takes apart what the append functions wrote. After an error all reads give zero.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || r.err != nil {
		r.err, r.rest = errBad, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) int() int64 { return int64(r.uvarint()) }

// count reads how many things follow that take at least so many bytes each.
func (r *reader) count(bytes int) int {
	n := r.uvarint()
	if n > uint64(len(r.rest)/bytes) {
		r.err, r.rest = errBad, nil
		return 0
	}
	return int(n)
}

func (r *reader) string() string {
	n := r.count(1)
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

func (r *reader) version(want uint64) {
	if r.uvarint() != want {
		r.err, r.rest = errBad, nil
	}
}

// counters skips those that this version does not know.
func (r *reader) counters() (c Counters) {
	for range r.count(2) {
		i, v := r.uvarint(), r.uvarint()
		if i < uint64(numCounters) {
			c[i] = v
		}
	}
	return c
}

func (r *reader) end() error {
	if r.err == nil && len(r.rest) > 0 {
		r.err = errBad
	}
	return r.err
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
