package meter

import "encoding/binary"

// Report is what one boot of a node says each second. It is whole: what is not in it is zero.
type Report struct {
	N          uint64 // goes up with each report of a boot
	Layout     uint64 // epoch that the layout began with which the partitions are of
	Partitions []Partition
	Apps       []App
}

// Partition is what an owner has open in one of its partitions. Partitions that it does not serve yet are left out.
type Partition struct {
	Part  uint32
	Epoch uint64
	Open  map[string]int64 // channels by app
}

// App is what a boot holds of an app, and what it did for it since it started.
type App struct {
	ID          string
	Connections int64
	Counters    Counters
}

const reportVersion = 2 // 1 did not name the layout

// Append writes the report.
func (r *Report) Append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, reportVersion)
	dst = binary.AppendUvarint(dst, r.N)
	dst = binary.AppendUvarint(dst, r.Layout)
	dst = binary.AppendUvarint(dst, uint64(len(r.Partitions)))
	for _, p := range r.Partitions {
		dst = binary.AppendUvarint(dst, uint64(p.Part))
		dst = binary.AppendUvarint(dst, p.Epoch)
		dst = binary.AppendUvarint(dst, uint64(len(p.Open)))
		for app, n := range p.Open {
			dst = binary.AppendUvarint(appendString(dst, app), uint64(max(n, 0)))
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Apps)))
	for i := range r.Apps {
		a := &r.Apps[i]
		dst = binary.AppendUvarint(appendString(dst, a.ID), uint64(max(a.Connections, 0)))
		dst = a.Counters.append(dst)
	}
	return dst
}

// DecodeReport reads what Append wrote. It keeps nothing of b.
func DecodeReport(b []byte) (*Report, error) {
	d := reader{rest: b}
	d.version(reportVersion)
	r := &Report{N: d.uvarint(), Layout: d.uvarint()}
	for range d.count(3) {
		p := Partition{Part: uint32(d.uvarint()), Epoch: d.uvarint()}
		if n := d.count(2); n > 0 {
			p.Open = make(map[string]int64, n)
			for range n {
				app := d.string()
				p.Open[app] = d.int()
			}
		}
		r.Partitions = append(r.Partitions, p)
	}
	for range d.count(3) {
		r.Apps = append(r.Apps, App{ID: d.string(), Connections: d.int(), Counters: d.counters()})
	}
	return r, d.end()
}
