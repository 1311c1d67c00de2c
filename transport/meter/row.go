package meter

import "encoding/binary"

// Row is what was measured over some time.
type Row struct {
	Samples     int64 // 0: nothing was measured, and all else is 0
	Ms          int64 // how much time the samples stand for
	Channels    Gauge
	Connections Gauge
	Counters    Counters
}

// Gauge is what became of a number that goes up and down.
type Gauge struct {
	Min, Peak int64
	Area      int64 // the number × ms
}

// Mean is the time-weighted mean of a gauge of the row.
func (r *Row) Mean(g *Gauge) float64 {
	if r.Ms == 0 {
		return float64(g.Peak)
	}
	return float64(g.Area) / float64(r.Ms)
}

// Active says whether there is anything to tell.
func (r *Row) Active() bool {
	return r.Channels.Peak > 0 || r.Connections.Peak > 0 || r.Counters != Counters{}
}

// sample adds what was seen, which stands for so many ms.
func (r *Row) sample(v Now, ms int64) {
	r.Merge(&Row{Samples: 1, Ms: ms, Channels: Gauge{v.Channels, v.Channels, v.Channels * ms}, Connections: Gauge{v.Connections, v.Connections, v.Connections * ms}})
}

// Merge makes the row stand for the time of o as well.
func (r *Row) Merge(o *Row) {
	r.Counters.Add(&o.Counters)
	if o.Samples == 0 {
		return
	}
	first := r.Samples == 0
	r.Channels.merge(&o.Channels, first)
	r.Connections.merge(&o.Connections, first)
	r.Samples += o.Samples
	r.Ms += o.Ms
}

func (g *Gauge) merge(o *Gauge, first bool) {
	if first {
		*g = *o
		return
	}
	g.Min, g.Peak, g.Area = min(g.Min, o.Min), max(g.Peak, o.Peak), g.Area+o.Area
}

// beyond says whether a number is more or less than all before.
func (g *Gauge) beyond(v int64) bool { return v < g.Min || v > g.Peak }

const rowVersion = 1

// append writes samples, ms, then min, peak and area of each gauge, then the counters.
func (r *Row) append(dst []byte) []byte {
	for _, v := range [...]int64{
		rowVersion, r.Samples, r.Ms, r.Channels.Min, r.Channels.Peak, r.Channels.Area, r.Connections.Min, r.Connections.Peak, r.Connections.Area,
	} {
		dst = binary.AppendUvarint(dst, uint64(v))
	}
	return r.Counters.append(dst)
}

func (r *reader) row() (w Row) {
	r.version(rowVersion)
	for _, v := range [...]*int64{
		&w.Samples, &w.Ms, &w.Channels.Min, &w.Channels.Peak, &w.Channels.Area, &w.Connections.Min, &w.Connections.Peak, &w.Connections.Area,
	} {
		*v = r.int()
	}
	w.Counters = r.counters()
	return w
}
