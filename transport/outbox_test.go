package transport

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A client that does not read is ended with a reason as soon as its outbox is full, and others do not notice.
func TestSlowConsumer(t *testing.T) {
	for _, network := range []string{"pipe", "tcp"} {
		t.Run(network, func(t *testing.T) {
			run := func(t *testing.T) {
				const limit = 256 << 10
				w := newWorld(t, network == "tcp", func(c *GatewayConfig) { c.OutboxBytes = limit })
				defer w.close()
				raw, err := w.dial(t.Context(), "tcp", w.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer raw.Close()
				br := upgrade(t, raw, testKey)
				writeMasked(t, raw, protocol.AppendAttach(nil, protocol.JSON, &protocol.Attach{Channel: "room"}))
				if b := readFrame(t, br); !bytes.Contains(b, []byte(`"action":11`)) {
					t.Fatalf("got %q", b)
				}
				part := w.g.partition("demo", "room")
				text := []byte(strings.Repeat("x", 10_000))
				for i := 0; w.g.Stats().OverflowCloses == 0; i++ {
					if i == 10_000 {
						t.Fatal("never overflows")
					}
					d := &channel.Delivery{App: "demo", Name: "room", Serial: fmt.Sprintf("%06d", i), Messages: []channel.Message{{Kind: channel.StringData, Data: text}}}
					for !w.g.FromOwner("n1", part, 1, d) {
						time.Sleep(time.Millisecond)
					}
					if network == "tcp" && i%100 == 0 {
						time.Sleep(time.Millisecond)
					} else if network == "pipe" {
						synctest.Wait()
					}
				}
				await1(t, w.owner, func(r *channel.Register) bool { return r.Counts[channel.Connections] == 0 })
				// What was written before the end is intact, and the reason comes last.
				last := -1
				for {
					b, err := nextFrame(br)
					if err != nil {
						if network == "pipe" {
							t.Fatalf("no reason given: %v", err)
						}
						break // the goodbye is best effort: a socket that stays full never takes it
					}
					pm, err := protocol.Decode(protocol.JSON, b)
					if err != nil {
						t.Fatalf("broken frame %q: %v", b, err)
					}
					if pm.Action == protocol.ActionDisconnected {
						if pm.Error.Code != 80003 || !strings.Contains(pm.Error.Message, fmt.Sprint(limit)) {
							t.Errorf("error %v", pm.Error)
						}
						break
					}
					var serial int
					fmt.Sscanf(pm.ChannelSerial, "%d", &serial)
					if serial != last+1 {
						t.Fatalf("serial %d after %d", serial, last)
					}
					last = serial
				}
			}
			if network == "pipe" {
				synctest.Test(t, run)
			} else {
				run(t)
			}
		})
	}
}

// A reader that lags behind, but not too far, gets everything in order, across partial writes and the goroutine that
// writes the backlog.
func TestBacklogIsInOrder(t *testing.T) {
	w := newWorld(t, true, func(c *GatewayConfig) { c.OutboxBytes = 64 << 20 })
	defer w.close()
	raw, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	br := upgrade(t, raw, testKey)
	writeMasked(t, raw, protocol.AppendAttach(nil, protocol.JSON, &protocol.Attach{Channel: "room"}))
	readFrame(t, br)
	part := w.g.partition("demo", "room")
	const n = 20_000
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range n {
			text := []byte(strings.Repeat("y", i%3000))
			d := &channel.Delivery{App: "demo", Name: "room", Serial: fmt.Sprintf("%06d", i), Messages: []channel.Message{{Kind: channel.StringData, Data: text}}}
			for !w.g.FromOwner("n1", part, 1, d) {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	for i := range n {
		if i%2000 == 0 {
			time.Sleep(20 * time.Millisecond) // let a backlog build up
		}
		b := readFrame(t, br)
		if want := fmt.Sprintf(`"channelSerial":"%06d"`, i); !bytes.Contains(b, []byte(want)) || len(b) < i%3000 {
			t.Fatalf("frame %d: got %.200q", i, b)
		}
	}
	<-done
}

// Whatever is appended and however the socket takes it, the bytes come out whole and in order, and the count of pending
// bytes returns to zero.
func TestOutboxProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(1, 100_000), 1, 40).Draw(t, "sizes")
		drain := rapid.SliceOfN(rapid.Bool(), len(sizes), len(sizes)).Draw(t, "take")
		var o outbox
		f := new(flusher)
		var want, got []byte
		take := func() {
			for buf := o.take(f); buf != nil; buf = o.take(f) {
				// A partial write: keep the rest the way flush does.
				n := rapid.IntRange(1, len(buf)).Draw(t, "n")
				got = append(got, buf[:n]...)
				o.bytes -= n
				if n < len(buf) {
					o.rest = buf[n:]
					if f.joined {
						o.rest = bytes.Clone(o.rest)
					}
				}
			}
		}
		for i, size := range sizes {
			frame := bytes.Repeat([]byte{byte(i)}, size)
			want = append(want, frame...)
			if o.append(frame, 1<<30) == overflow {
				t.Fatal("overflow")
			}
			if drain[i] {
				take()
			}
		}
		take()
		if !bytes.Equal(got, want) || o.bytes != 0 || len(o.pending) != 0 {
			t.Fatalf("%d of %d bytes, %d counted, %d pending", len(got), len(want), o.bytes, len(o.pending))
		}
	})
}

func TestOutboxLimitAndSeal(t *testing.T) {
	var o outbox
	if got := o.append([]byte("12345"), 10); got != first {
		t.Errorf("got %v", got)
	}
	if got := o.append([]byte("12345"), 10); got != queued {
		t.Errorf("got %v", got)
	}
	if got := o.append([]byte("1"), 10); got != overflow {
		t.Errorf("got %v", got)
	}
	var idle outbox // a frame larger than the limit is no sign of a slow reader, unless others wait already
	if got := idle.append(make([]byte, 161), 10); got != overflow {
		t.Errorf("a frame of any size: got %v", got)
	}
	if got := idle.append(make([]byte, 160), 10); got != urgent && got != first {
		t.Errorf("a large frame: got %v", got)
	}
	if got := idle.append([]byte("1"), 10); got != overflow {
		t.Errorf("behind a large frame: got %v", got)
	}
	o.seal([]byte("the end, whatever the limit"), true)
	if got := o.append([]byte("1"), 10); got != queued {
		t.Errorf("got %v", got)
	}
	if buf := o.take(new(flusher)); string(buf) != "the end, whatever the limit" {
		t.Errorf("got %q", buf)
	}
}

func TestSeal(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 100_000} {
		payload := bytes.Repeat([]byte{7}, n)
		for f, op := range map[protocol.Format]byte{protocol.JSON: 0x81, protocol.MsgPack: 0x82} {
			frame := seal(append(begin(nil), payload...), f)
			got, err := nextFrame(bufio.NewReader(bytes.NewReader(frame)))
			if err != nil || frame[0] != op || !bytes.Equal(got, payload) {
				t.Errorf("%d bytes: op %x, %d bytes, %v", n, frame[0], len(got), err)
			}
		}
	}
}

// Control frames of the library and data frames of ours share the socket without ever mixing.
func TestPongsBetweenDeliveries(t *testing.T) {
	w := newWorld(t, true, func(c *GatewayConfig) { c.OutboxBytes = 64 << 20 })
	defer w.close()
	c := w.connect("")
	defer c.close()
	c.attach("room", nil)
	part := w.g.partition("demo", "room")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	pings := make(chan error, 1)
	go func() {
		for range 200 {
			if err := c.ws.Ping(ctx); err != nil {
				pings <- err
				return
			}
		}
		pings <- nil
	}()
	const n = 5000
	go func() {
		text := []byte(strings.Repeat("z", 2000))
		for i := range n {
			d := &channel.Delivery{App: "demo", Name: "room", Serial: fmt.Sprintf("%06d", i), Messages: []channel.Message{{Kind: channel.StringData, Data: text}}}
			for !w.g.FromOwner("n1", part, 1, d) {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	for i := range n {
		pm, err := c.read(ctx)
		if err != nil || pm.ChannelSerial != fmt.Sprintf("%06d", i) {
			t.Fatalf("message %d: %+v, %v", i, pm, err)
		}
	}
	go c.read(ctx) // pongs need a reader
	if err := <-pings; err != nil {
		t.Error(err)
	}
}

// Answers in any order, from several goroutines: what leaves is every msgSerial once, in order, without gaps.
func TestAcksProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(t, "n")
		order := rapid.Permutation(intsUpTo(n)).Draw(t, "order")
		refused := rapid.SliceOfN(rapid.Bool(), n, n).Draw(t, "refused")
		emitAfter := rapid.SliceOfN(rapid.Bool(), n, n).Draw(t, "emit")
		c := &conn{g: &Gateway{cfg: GatewayConfig{OutboxBytes: 1 << 20}}}
		for i := range n {
			c.acks.add(int64(i), 1)
		}
		f := new(flusher)
		promised := false
		for step, i := range order {
			var err *protocol.ErrorInfo
			if refused[i] {
				err = protocol.NewError(protocol.CodeBusy)
			}
			promised = c.acks.done(uint64(i), protocol.Ack{Serial: fmt.Sprint(i), Messages: 1}, err) || promised
			if promised && emitAfter[step] {
				c.emit(f)
				promised = false
			}
		}
		if promised {
			c.emit(f)
		}
		next := int64(0)
		br := bufio.NewReader(bytes.NewReader(bytes.Join(c.out.pending, nil)))
		for {
			b, err := nextFrame(br)
			if errors.Is(err, io.EOF) {
				break
			}
			pm, err := protocol.Decode(protocol.JSON, b)
			if err != nil || pm.MsgSerial != next || pm.Count < 1 {
				t.Fatalf("after %d: %q, %v", next, b, err)
			}
			for i := range pm.Count {
				serial := int(pm.MsgSerial) + i
				if (pm.Action == protocol.ActionNack) != refused[serial] {
					t.Fatalf("serial %d: %v", serial, pm.Action)
				}
				if pm.Action == protocol.ActionAck && pm.Res[i].Serials[0] != fmt.Sprintf("%d:000", serial) {
					t.Fatalf("serial %d: res %v", serial, pm.Res)
				}
			}
			next += int64(pm.Count)
		}
		if next != int64(n) || len(c.acks.window) != 0 || c.acks.bytes != 0 {
			t.Fatalf("%d of %d answered, window %d, bytes %d", next, n, len(c.acks.window), c.acks.bytes)
		}
	})
}

func intsUpTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// FuzzServe feeds a connection anything as a frame: it never panics, and other connections never notice.
func FuzzServe(f *testing.F) {
	for _, s := range []string{
		`{"action":10,"channel":"a","params":{"occupancy":"metrics","modes":"subscribe"}}`,
		`{"action":12,"channel":"a"}`, `{"action":15,"channel":"a","msgSerial":-1,"messages":[{"data":"x"}]}`,
		`{"action":14}`, `{"action":16}`, `{"action":0,"id":"x"}`, `{"action":7}`, `{"action":5}`, `{"action":17}`, `{`, ``,
		`{"action":10}`, `{"action":10,"channel":"[?modes=]"}`, `{"action":15,"msgSerial":9223372036854775807,"channel":"a","messages":[{}]}`,
	} {
		f.Add([]byte(s))
	}
	w := newWorld(f, false, nil)
	f.Cleanup(w.close)
	f.Fuzz(func(t *testing.T, frame []byte) {
		raw, err := w.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		raw.SetDeadline(time.Now().Add(10 * time.Second))
		br := upgrade(t, raw, testKey)
		go func() {
			raw.Write(masked(frame))
			raw.Write(binary.BigEndian.AppendUint16([]byte{opClose, 0x82, 0, 0, 0, 0}, 1000))
		}()
		for err == nil {
			var op byte
			if _, op, err = anyFrame(br); op == opClose {
				return
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("the connection was not closed")
		}
	})
}
