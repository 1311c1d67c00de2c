package channel

import (
	"fmt"
	"math"
)

// AppendToOwner appends the frame of m to dst.
func AppendToOwner(dst []byte, m ToOwner) []byte {
	w := writer(dst)
	switch m := m.(type) {
	case *Snapshot:
		w.byte(frameSnapshot)
		w.uint(uint64(len(m.Registers)))
		app := ""
		for i := range m.Registers {
			r := &m.Registers[i]
			w.bool(r.App != app) // registers of one app follow each other: its name is written once
			if r.App != app {
				app = r.App
				w.text(app)
			}
			w.register(r)
		}
	case *Register:
		w.byte(frameRegister)
		w.text(m.App)
		w.register(m)
	case *Publish:
		if m.special() {
			w.publishEdit(m)
		} else {
			w.publish(m)
		}
	case *Lookup:
		w.lookup(m)
	case *Query:
		w.byte(frameQuery)
		w.uint(m.Req)
		w.name(m.App, m.Name)
	case *List:
		w.byte(frameList)
		w.uint(m.Req)
		w.text(m.App)
		w.uint(m.After.Hash)
		w.name(m.After.App, m.After.Name)
		w.text(m.Prefix)
		w.uint(uint64(min(max(m.Limit, 0), math.MaxInt32)))
	case *History:
		w.byte(frameHistoryAsked)
		w.uint(m.Req)
		w.name(m.App, m.Name)
		w.text(m.After)
		w.text(m.Until)
		w.int(m.StartMs)
		w.int(m.EndMs)
		w.uint(uint64(min(max(m.Limit, 0), math.MaxInt32)))
		w.bool(m.Backwards)
		w.byte(byte(m.Of))
		w.bool(m.Raw)
	case *PresenceChange:
		w.presenceChange(m)
	case *PresenceQuery:
		w.presenceQuery(m)
	default:
		panic(fmt.Sprintf("channel: no frame for %T", m))
	}
	return w
}

// DecodeToOwner reads one frame. The result keeps nothing of frame. Errors wrap ErrFrame.
func DecodeToOwner(frame []byte) (ToOwner, error) {
	t, err := frameType(frame)
	if err != nil {
		return nil, err
	}
	var m ToOwner
	var r reader
	switch t {
	case frameSnapshot:
		r = newReader(frame)
		m = r.snapshot()
	case frameRegister:
		r = newReader(frame)
		reg := &Register{App: r.string()}
		r.register(reg)
		m = reg
	case framePublish:
		return decodePublish(frame)
	case framePublishEdit:
		return decodePublishEdit(frame)
	case frameLookup:
		r = newReader(frame)
		m = r.lookup()
	case frameQuery:
		r = newReader(frame)
		m = &Query{Req: r.uint(), App: r.string(), Name: r.string()}
	case frameList:
		r = newReader(frame)
		m = &List{
			Req: r.uint(), App: r.string(),
			After:  Position{Hash: r.uint(), App: r.string(), Name: r.string()},
			Prefix: r.string(), Limit: int(r.count()),
		}
	case frameHistoryAsked:
		r = newReader(frame)
		m = &History{
			Req: r.uint(), App: r.string(), Name: r.string(), After: r.string(), Until: r.string(),
			StartMs: r.int(), EndMs: r.int(), Limit: int(r.count()), Backwards: r.bool(),
			Of: Of(r.small(uint64(OnlyPresence), "unknown kind of publishes")), Raw: r.bool(),
		}
	case framePresenceChange:
		r = newReader(frame)
		m = r.presenceChange()
	case framePresenceQuery:
		r = newReader(frame)
		m = r.presenceQuery()
	default:
		return nil, unknownFrame(t)
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return m, nil
}

// register writes all of r except its app.
func (w *writer) register(r *Register) {
	w.text(r.Name)
	w.uint(r.Version)
	w.counts(&r.Counts)
	w.count(r.Watchers)
	w.bool(r.Confirm)
	w.text(r.Serial)
	w.holds(r.Holds)
}

// registerSize is the least a register takes in a Snapshot.
const registerSize = 8

func (r *reader) register(m *Register) {
	m.Name = r.string()
	m.Version = r.uint()
	m.Counts = r.counts()
	m.Watchers = r.count()
	m.Confirm = r.bool()
	m.Serial = r.string()
	m.Holds = r.holds()
}

func (r *reader) snapshot() *Snapshot {
	m := &Snapshot{}
	n := r.many(registerSize)
	if n == 0 {
		return m
	}
	m.Registers = make([]Register, n)
	app := ""
	for i := range m.Registers {
		if r.bool() {
			app = r.string()
		}
		m.Registers[i].App = app
		r.register(&m.Registers[i])
		if r.err != nil {
			break
		}
	}
	return m
}
