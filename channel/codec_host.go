package channel

import (
	"fmt"
	"slices"
)

const (
	frameCopyBegin byte = 0x31 + iota
	frameCopyPart
	frameCopyEnd
	frameCopied
	_ // 0x35 was an earlier layout of CopyFetch
)

// 0x36 and 0x91 were earlier layouts of CopyHave.
const (
	frameLeft byte = 0x90 + iota
	_
	frameCopyFetch
	frameCopyHave
	frameCopyWhole
	frameCopyBehind
	frameCopyKnown
)

const frameTapTold byte = 0xb8

// AppendToHost appends the frame of m to dst.
func AppendToHost(dst []byte, m ToHost) []byte {
	w := writer(dst)
	switch m := m.(type) {
	case *CopyBegin:
		w.byte(frameCopyBegin)
		w.uint(m.Stream)
		w.text(m.Since)
		w.text(m.Floor)
	case *CopyPart:
		w = slices.Grow(w, frameSize(m.Deliveries))
		w.byte(frameCopyPart)
		w.uint(m.Stream)
		w.name(m.App, m.Name)
		w.text(m.Since)
		w.bool(m.Old)
		w.deliveries(m.Deliveries)
	case *CopyEnd:
		w.byte(frameCopyEnd)
		w.uint(m.Stream)
		w.bool(m.Complete)
		w.uint(m.Parts)
	case *Copied:
		w.byte(frameCopied)
		w.uint(m.Stream)
		w.name(m.App, m.Name)
		w.text(m.Serial)
		w.bool(m.Old)
	case *CopyFetch:
		w.byte(frameCopyFetch)
		w.uint(m.Stream)
		w.bool(m.Take)
		w.uint(m.Back)
	case *CopyHave:
		w.byte(frameCopyHave)
		w.uint(m.Stream)
		w.uint(m.Of)
		w.bool(m.Complete)
		w.uint(m.Sent)
		w.uint(m.Parts)
		w.uint(m.Hollow)
		w.bool(m.Over)
		w.uint(m.Behind)
	case *CopyWhole:
		w.byte(frameCopyWhole)
		w.uint(m.Stream)
	case *CopyBehind:
		w.byte(frameCopyBehind)
		w.uint(m.Stream)
	case *CopyKnown:
		w.byte(frameCopyKnown)
		w.uint(m.Stream)
	case *TapTold:
		w.byte(frameTapTold)
		w.uint(m.Stream)
		w.name(m.App, m.Name)
		w.text(m.Serial)
	case *Left:
		w.byte(frameLeft)
		w.uint(m.Stream)
		w.uint(uint64(len(m.Channels)))
		for _, r := range m.Channels {
			w.remains(r)
		}
	default:
		if !w.past(m) {
			panic(fmt.Sprintf("channel: no frame for %T", m))
		}
	}
	return w
}

// frameSize is what Deliveries take in a frame, by an estimate that is rather too large: a frame of many is made in one
// piece.
func frameSize(list []*Delivery) (n int) {
	const head, each = 64, 48 // lengths, numbers and types
	for _, d := range list {
		n += head + len(d.App) + len(d.Name) + len(d.Serial) + len(d.Prev) + len(d.ID) + len(d.ConnID)
		for i := range d.Messages {
			m := &d.Messages[i]
			n += each + len(m.ID) + len(m.Name) + len(m.ClientID) + len(m.Encoding) + len(m.Data) + len(m.Extras)
		}
	}
	return n
}

// DecodeToHost reads one frame. The result keeps nothing of frame. Errors wrap ErrFrame.
func DecodeToHost(frame []byte) (ToHost, error) {
	t, err := frameType(frame)
	if err != nil {
		return nil, err
	}
	var m ToHost
	r := newReader(frame)
	switch t {
	case frameCopyBegin:
		m = &CopyBegin{Stream: r.uint(), Since: r.string(), Floor: r.string()}
	case frameCopyPart:
		m = &CopyPart{
			Stream: r.uint(), App: r.string(), Name: r.string(), Since: r.string(), Old: r.bool(), Deliveries: r.deliveries(frame),
		}
	case frameCopyEnd:
		m = &CopyEnd{Stream: r.uint(), Complete: r.bool(), Parts: r.uint()}
	case frameCopied:
		m = &Copied{Stream: r.uint(), App: r.string(), Name: r.string(), Serial: r.string(), Old: r.bool()}
	case frameCopyFetch:
		m = &CopyFetch{Stream: r.uint(), Take: r.bool(), Back: r.uint()}
	case frameCopyHave:
		m = &CopyHave{Stream: r.uint(), Of: r.uint(), Complete: r.bool(), Sent: r.uint(), Parts: r.uint(), Hollow: r.uint(), Over: r.bool(), Behind: r.uint()}
	case frameCopyWhole:
		m = &CopyWhole{Stream: r.uint()}
	case frameCopyBehind:
		m = &CopyBehind{Stream: r.uint()}
	case frameCopyKnown:
		m = &CopyKnown{Stream: r.uint()}
	case frameTapTold:
		m = &TapTold{Stream: r.uint(), App: r.string(), Name: r.string(), Serial: r.string()}
	case frameLeft:
		m = &Left{Stream: r.uint(), Channels: r.remains()}
	default:
		if m = r.past(t, frame); m == nil {
			return nil, unknownFrame(t)
		}
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return m, nil
}

func (w *writer) remains(r *Remains) {
	w.name(r.App, r.Name)
	w.int(r.VacateMs)
	w.int(r.UsedMs)
	w.uint(uint64(len(r.More)))
	for _, s := range r.More {
		w.byte(s.Kind)
		w.text(string(s.Data))
	}
}

func (r *reader) remains() []*Remains {
	list := make([]*Remains, r.many(5))
	for i := range list {
		one := &Remains{App: r.string(), Name: r.string(), VacateMs: r.int(), UsedMs: r.int()}
		if n := r.many(2); n > 0 {
			one.More = make([]Section, n)
			for j := range one.More {
				one.More[j] = Section{Kind: r.byte(), Data: []byte(r.string())}
			}
		}
		list[i] = one
	}
	return list
}
