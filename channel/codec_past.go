package channel

const (
	framePastAsk byte = 0xa0 + iota
	framePastHave
	framePastTake
	framePastPage
)

// past appends the frame of m, if it is one of these.
func (w *writer) past(m ToHost) bool {
	switch m := m.(type) {
	case *PastAsk:
		w.byte(framePastAsk)
		w.uint(m.Stream)
		w.uint(m.Layout)
	case *PastHave:
		w.byte(framePastHave)
		w.uint(m.Stream)
		w.bool(m.Served)
		w.uint(uint64(len(m.Copies)))
		for _, c := range m.Copies {
			w.uint(uint64(c.Part))
			w.uint(c.Of)
			w.bool(c.Complete)
		}
	case *PastTake:
		w.byte(framePastTake)
		w.uint(m.Stream)
		w.uint(m.Layout)
		w.uint(uint64(m.Part))
		w.uint(m.Page)
		w.pastPlace(&m.After)
	case *PastPage:
		w.byte(framePastPage)
		w.uint(m.Stream)
		w.uint(uint64(m.Part))
		w.uint(m.Page)
		w.text(m.Since)
		w.text(m.Floor)
		w.bool(m.More)
		w.pastPlace(&m.Next)
		w.uint(uint64(len(m.Channels)))
		for i := range m.Channels {
			c := &m.Channels[i]
			w.name(c.App, c.Name)
			w.text(c.Since)
			w.text(c.Told)
			w.deliveries(c.Deliveries)
		}
	default:
		return false
	}
	return true
}

func (w *writer) pastPlace(p *PastPlace) {
	w.uint(p.Hash)
	w.name(p.App, p.Name)
	w.text(p.Serial)
}

// past reads a frame of type t, nil if it is none of these; frame is the whole that r reads.
func (r *reader) past(t byte, frame []byte) ToHost {
	switch t {
	case framePastAsk:
		return &PastAsk{Stream: r.uint(), Layout: r.uint()}
	case framePastHave:
		m := &PastHave{Stream: r.uint(), Served: r.bool()}
		for range r.many(3) {
			m.Copies = append(m.Copies, PastCopy{Part: uint32(r.count()), Of: r.uint(), Complete: r.bool()})
		}
		return m
	case framePastTake:
		return &PastTake{Stream: r.uint(), Layout: r.uint(), Part: uint32(r.count()), Page: r.uint(), After: r.pastPlace()}
	case framePastPage:
		m := &PastPage{
			Stream: r.uint(), Part: uint32(r.count()), Page: r.uint(), Since: r.string(), Floor: r.string(), More: r.bool(), Next: r.pastPlace(),
		}
		for range r.many(5) {
			m.Channels = append(m.Channels, PastChannel{
				App: r.string(), Name: r.string(), Since: r.string(), Told: r.string(), Deliveries: r.deliveries(frame),
			})
		}
		return m
	}
	return nil
}

func (r *reader) pastPlace() PastPlace {
	return PastPlace{Position{Hash: r.uint(), App: r.string(), Name: r.string()}, r.string()}
}
