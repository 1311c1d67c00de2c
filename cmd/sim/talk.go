package sim

import (
	"fmt"
	"net/url"
	"time"
)

// talk is what a client knows of messages: its own, and those it heard. It outlives connections, which the client resumes
// as the SDKs do. Owned by the client's goroutine.
type talk struct {
	conn, key string // of the last connection; "" when the next one is to be new
	next      int    // msgSerial
	number    int    // of the next message, over all connections
	pending   []pending
	hears     map[string]*hearing // by channel, while the client means to go on from there
}

// pending is a message without an answer.
type pending struct {
	serial  int // msgSerial
	channel string
	data    string
	record  int // index in the history
}

// hearing is where a client stands in a channel.
type hearing struct {
	serial string // channelSerial of the last frame that had one
	record *Listening
}

// resumed is the flag of an ATTACHED that goes on where the client stood.
const resumed = 1 << 2

// data names a message by who published it.
func data(client, number int) string { return fmt.Sprintf("%d/%d", client, number) }

// Publish sends a message on a channel; it does nothing while the client has no connection.
func (c *Client) Publish(channel string) {
	c.do(func() {
		if c.ses == nil {
			return
		}
		t := &c.talk
		p := pending{serial: t.next, channel: channel, data: data(c.ID, t.number)}
		c.sim.rec.record(func(h *History) {
			p.record = len(h.Messages)
			h.Messages = append(h.Messages, Message{Client: c.ID, Number: t.number, Conn: t.conn, Channel: channel, Asked: time.Now()})
		})
		t.next++
		t.number++
		t.pending = append(t.pending, p)
		c.send(p)
	})
}

func (c *Client) send(p pending) {
	c.write(frame{Action: actMessage, Channel: p.channel, MsgSerial: &p.serial, Messages: []message{{Data: p.data}}})
}

// resumeQuery asks for the last connection again.
func (c *Client) resumeQuery() string {
	if c.talk.key == "" {
		return ""
	}
	return "&resume=" + url.QueryEscape(c.talk.key)
}

// connected takes CONNECTED: on the same connection what has no answer is said again, on another it is left unknown.
func (c *Client) connected(f frame) {
	t := &c.talk
	same := t.conn != "" && t.conn == f.Conn
	t.conn, t.key = f.Conn, f.Details.ConnectionKey
	if !same {
		t.next, t.pending = 0, nil
	}
	for _, p := range t.pending {
		c.send(p)
	}
}

// forget makes the next connection a new one that knows nothing.
func (c *Client) forget() {
	c.talk.conn, c.talk.key, c.talk.pending = "", "", nil
	for _, channel := range sorted(c.talk.hears) {
		c.unhear(channel, "")
	}
}

// Forget makes the client come back as somebody new the next time.
func (c *Client) Forget() { c.do(c.forget) }

// hear takes an ATTACHED, the first of an attachment or a later one.
func (c *Client) hear(f frame, again bool) {
	had := c.talk.hears[f.Channel]
	goesOn := f.Flags&resumed != 0
	switch {
	case had != nil && goesOn:
		had.serial = f.ChannelSerial
		if !again {
			c.sim.rec.record(func(*History) { had.record.Resumes++ })
		}
		return
	case had == nil && goesOn && !again:
		c.sim.fail("client %d was told that %s was resumed, and had not asked for it", c.ID, f.Channel)
	}
	why := "not resumed"
	if r := f.reason(); r != "" {
		why = r
	}
	c.unhear(f.Channel, why)
	m := Mode(f.Flags) & modeBits
	if m != 0 && m&Subscribe == 0 {
		return
	}
	l := &Listening{Client: c.ID, Channel: f.Channel, From: time.Now()}
	c.sim.rec.record(func(h *History) { h.Listenings = append(h.Listenings, l) })
	c.talk.hears[f.Channel] = &hearing{serial: f.ChannelSerial, record: l}
}

// heard takes a MESSAGE.
func (c *Client) heard(f frame) {
	h := c.talk.hears[f.Channel]
	if h == nil {
		return
	}
	if f.ChannelSerial != "" {
		h.serial = f.ChannelSerial
	}
	now := time.Now()
	c.sim.rec.record(func(*History) {
		for _, m := range f.Messages {
			x := Heard{Client: -1, Serial: m.Serial, At: now}
			fmt.Sscanf(m.Data, "%d/%d", &x.Client, &x.Number)
			h.record.Heard = append(h.record.Heard, x)
		}
	})
}

// unhear ends what a client heard of a channel, by its own will or, with a reason, because it was told of a gap.
func (c *Client) unhear(channel, gap string) {
	h := c.talk.hears[channel]
	if h == nil {
		return
	}
	delete(c.talk.hears, channel)
	c.sim.rec.record(func(*History) { h.record.To, h.record.Gap = time.Now(), gap })
}

// answered takes an ACK or a NACK.
func (c *Client) answered(f frame) {
	if f.MsgSerial == nil {
		c.sim.fail("client %d got an answer without a msgSerial", c.ID)
		return
	}
	now := time.Now()
	for i := range f.Count {
		t := &c.talk
		if len(t.pending) == 0 || t.pending[0].serial != *f.MsgSerial+i {
			c.sim.fail("client %d got an answer to %d, which is not its next message (%d wait)", c.ID, *f.MsgSerial+i, len(t.pending))
			return
		}
		p := t.pending[0]
		t.pending = t.pending[1:]
		c.sim.rec.record(func(h *History) {
			m := &h.Messages[p.record]
			if f.Action == actNack {
				m.Refused = f.reason()
				return
			}
			m.Acked = now
			if i < len(f.Res) && len(f.Res[i].Serials) == 1 {
				m.Serial = f.Res[i].Serials[0]
			}
		})
	}
}
