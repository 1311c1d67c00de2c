package channel

import "fmt"

// AppendToGateway appends the frame of m to dst.
func AppendToGateway(dst []byte, m ToGateway) []byte {
	w := writer(dst)
	switch m := m.(type) {
	case *Registered:
		w.byte(frameRegistered)
		w.name(m.App, m.Name)
		w.uint(m.Version)
		w.text(m.Serial)
		w.counts(&m.Counts)
		w.bool(m.Lost)
	case *Delivery:
		w.delivery(m)
	case *Occupancy:
		w.byte(frameOccupancy)
		w.name(m.App, m.Name)
		w.counts(&m.Counts)
	case *Published:
		w.byte(framePublished)
		w.uint(m.Req)
		w.text(m.Serial)
		w.uint(uint64(m.Refusal))
	case *QueryResult:
		w.byte(frameQueryResult)
		w.uint(m.Req)
		w.bool(m.Active)
		w.counts(&m.Counts)
		w.uint(uint64(m.Refusal))
	case *ListResult:
		w.byte(frameListResult)
		w.uint(m.Req)
		w.uint(uint64(len(m.Channels)))
		for i := range m.Channels {
			w.name(m.Channels[i].App, m.Channels[i].Name)
			w.counts(&m.Channels[i].Counts)
		}
		w.bool(m.More)
		w.uint(uint64(m.Refusal))
	case *HistoryResult:
		w.byte(frameHistoryResult)
		w.uint(m.Req)
		w.text(m.Serial)
		w.bool(m.Complete)
		w.bool(m.More)
		w.uint(uint64(m.Refusal))
		w.deliveries(m.Deliveries)
	case *PresenceHeld:
		w.presenceHeld(m)
	case *PresencePage:
		w.presencePage(m)
	case *Refused:
		w.byte(frameRefused)
		w.name(m.App, m.Name)
		w.uint(m.Version)
		w.uint(uint64(m.Why))
	default:
		panic(fmt.Sprintf("channel: no frame for %T", m))
	}
	return w
}

// DecodeToGateway reads one frame. The result keeps nothing of frame. Errors wrap ErrFrame.
func DecodeToGateway(frame []byte) (ToGateway, error) {
	t, err := frameType(frame)
	if err != nil {
		return nil, err
	}
	if t == frameDelivery || t == framePresenceDelivery || t == frameDeliveryEdited {
		d, err := decodeAnyDelivery(t, frame)
		if err != nil {
			return nil, err
		}
		return d, nil
	}
	var m ToGateway
	r := newReader(frame)
	switch t {
	case frameRegistered:
		m = &Registered{App: r.string(), Name: r.string(), Version: r.uint(), Serial: r.string(), Counts: r.counts(), Lost: r.bool()}
	case frameOccupancy:
		m = &Occupancy{App: r.string(), Name: r.string(), Counts: r.counts()}
	case framePublished:
		m = &Published{Req: r.uint(), Serial: r.string(), Refusal: r.refusal()}
	case frameQueryResult:
		m = &QueryResult{Req: r.uint(), Active: r.bool(), Counts: r.counts(), Refusal: r.refusal()}
	case frameListResult:
		m = r.listResult()
	case frameHistoryResult:
		m = &HistoryResult{
			Req: r.uint(), Serial: r.string(), Complete: r.bool(), More: r.bool(), Refusal: r.refusal(),
			Deliveries: r.deliveries(frame),
		}
	case framePresenceHeld:
		m = r.presenceHeld()
	case framePresencePage:
		m = r.presencePage()
	case frameRefused:
		m = &Refused{App: r.string(), Name: r.string(), Version: r.uint(), Why: r.refusal()}
	default:
		return nil, unknownFrame(t)
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return m, nil
}

// listedSize is the least a channel takes in a ListResult.
const listedSize = 3

func (r *reader) listResult() *ListResult {
	m := &ListResult{Req: r.uint()}
	if n := r.many(listedSize); n > 0 {
		m.Channels = make([]Listed, n)
	}
	for i := range m.Channels {
		m.Channels[i] = Listed{App: r.string(), Name: r.string(), Counts: r.counts()}
		if r.err != nil {
			return m
		}
	}
	m.More, m.Refusal = r.bool(), r.refusal()
	return m
}
