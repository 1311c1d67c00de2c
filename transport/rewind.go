package transport

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// rewindMax is the most messages an attachment is given of what was before it.
const rewindMax = 100

// rewind is how far back an attachment begins: so many messages, or so much time and so many messages at most.
type rewind struct {
	messages int           // 1..rewindMax
	time     time.Duration // 0: by number
	bounded  bool          // more messages were asked for than rewindMax
}

// parseRewind reads the params rewind (N, Ns or Nm) and rewindLimit.
func parseRewind(params map[string]string) (*rewind, *protocol.ErrorInfo) {
	text, ok := params["rewind"]
	if !ok {
		return nil, nil
	}
	r := &rewind{}
	unit := time.Duration(0)
	digits, ok := strings.CutSuffix(text, "s")
	if ok {
		unit = time.Second
	} else if digits, ok = strings.CutSuffix(text, "m"); ok {
		unit = time.Minute
	}
	n, bad := strconv.ParseUint(digits, 10, 31)
	if bad != nil {
		return nil, protocol.Errorf(protocol.CodeBadParamValue, "rewind is a number of messages, or of seconds or minutes with s or m behind it; this is %.40q", text)
	}
	most := n
	if unit > 0 {
		r.time = min(time.Duration(n)*unit, 24*time.Hour)
		most = rewindMax + 1
		if limit, ok := params["rewindLimit"]; ok {
			if most, bad = strconv.ParseUint(limit, 10, 31); bad != nil {
				return nil, protocol.Errorf(protocol.CodeBadParamValue, "rewindLimit is a number of messages; this is %.40q", limit)
			}
		}
	}
	if n == 0 || most == 0 {
		return nil, nil
	}
	r.messages, r.bounded = int(min(most, rewindMax)), most > rewindMax
	return r, nil
}

// question asks an owner for the messages.
func (r *rewind) question(now time.Time) channel.History {
	q := channel.History{Backwards: true, Limit: r.messages, Of: channel.OnlyMessages}
	if r.time > 0 {
		q.StartMs = now.Add(-r.time).UnixMilli()
	}
	return q
}

// take gives what an answer holds for the attachment, in order; short says that there was more than is given, and that it
// is not the client who wanted no more.
func (r *rewind) take(answer *channel.HistoryResult) (list []*channel.Delivery, messages int, short bool) {
	more := answer.More
	for _, d := range answer.Deliveries { // the latest first
		n := len(d.Messages)
		if over := messages + n - r.messages; over > 0 {
			if more = true; over >= n {
				break
			}
			d, n = lastMessages(d, n-over), n-over
		}
		messages += n
		list = append(list, d)
	}
	slices.Reverse(list)
	return list, messages, more && (r.bounded || messages < r.messages)
}

// lastMessages is a publish reduced to its last n messages, each of which says by itself which one it is.
func lastMessages(d *channel.Delivery, n int) *channel.Delivery {
	cut := *d
	first := len(d.Messages) - n
	cut.Messages = slices.Clone(d.Messages[first:])
	for i := range cut.Messages {
		m := &cut.Messages[i]
		if d.ID != "" {
			m.ID = messageID(d, first+i)
		}
		if m.Edit == nil {
			serial := protocol.MessageSerial(d.Serial, first+i)
			m.Edit = &channel.Edit{Action: channel.MessageCreate, Serial: serial, CreatedMs: d.TimeMs, Version: serial, VersionMs: d.TimeMs}
		}
	}
	return &cut
}

// rewinds says whether the attachment is to be given messages of before it.
func (a *attachment) rewinds() bool { return a.rewind != nil && a.granted.Has(protocol.ModeSubscribe) }

// rewound begins with the last messages.
func (p *playback) rewound(r *channel.HistoryResult) {
	list, messages, short := p.a.rewind.take(r)
	start, flags := r.Serial, protocol.Flags(0)
	if len(list) > 0 {
		start, flags = list[0].Prev, protocol.FlagHasBacklog
	}
	var err *protocol.ErrorInfo
	if short {
		err = protocol.Errorf(protocol.CodeBacklogTooLarge, "rewind was cut to %d messages", messages)
	}
	p.greeted = true
	p.sendAttached(p.a, start, flags, err)
	for _, d := range list {
		p.play(d)
	}
	p.finish(start, r.Serial, 0, nil)
}
