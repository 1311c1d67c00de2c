package transport

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// cpu is what this process has used so far, in nanoseconds.
func cpu() int64 {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return r.Utime.Nano() + r.Stime.Nano()
}

// crowd connects n raw clients over loopback and has each attach to channelOf(i).
func crowd(b testing.TB, w *world, n int, channelOf func(i int) string) []net.Conn {
	b.Helper()
	clients := make([]net.Conn, n)
	for i := range clients {
		raw, err := net.Dial("tcp", w.addr)
		if err != nil {
			b.Fatal(err)
		}
		br := upgrade(b, raw, testKey)
		writeMasked(b, raw, protocol.AppendAttach(nil, protocol.JSON, &protocol.Attach{Channel: channelOf(i)}))
		attached(b, br)
		clients[i] = raw
	}
	return clients
}

func attached(b testing.TB, br *bufio.Reader) {
	b.Helper()
	if f := readFrame(b, br); !strings.Contains(string(f), `"action":11`) {
		b.Fatalf("got %q, want ATTACHED", f)
	}
}

// settleShard returns when everything that was queued for a shard before has been written.
func settleShard(s *shard) {
	for range 2 { // the first may be answered within the batch, the second comes after its flush
		done := make(chan struct{})
		s.in.force(command{kind: doInspect, what: func(*shard) { close(done) }})
		<-done
	}
}

const fanout = 1000

// BenchmarkFanout sends 128-byte messages to 1,000 sockets. One operation is one delivery to one socket. "floor" writes
// the same frame to each socket with a bare write(2); "alone" sends one message at a time; "together-16" hands the hub
// 16 messages at once. cpu-ns/op is that of the whole process, readers included, in all of them.
func BenchmarkFanout(b *testing.B) {
	text := []byte(strings.Repeat("x", 128))
	delivery := func(i int) *channel.Delivery {
		return &channel.Delivery{App: "demo", Name: "room", Serial: fmt.Sprintf("%014d-000@bench", i), ID: "abcdefgh:" + strconv.Itoa(i),
			ConnID: "abcdefgh", TimeMs: 1700000000000, Messages: []channel.Message{{Name: "m", Kind: channel.StringData, Data: text}}}
	}
	run := func(name string, batch int, f func(b *testing.B, w *world, i int)) {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b, true, func(c *GatewayConfig) { c.OutboxBytes = 1 << 30; c.Shards = 0 })
			defer w.close()
			clients := crowd(b, w, fanout, func(int) string { return "room" })
			for _, c := range clients {
				defer c.Close()
				go io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{c}, make([]byte, 8<<10))
			}
			per := fanout * batch
			rounds := (b.N + per - 1) / per
			f(b, w, 0)
			before := cpu()
			b.ResetTimer()
			for i := range rounds {
				f(b, w, i+1)
			}
			n := float64(rounds * per)
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/n, "ns/delivery")
			b.ReportMetric(float64(cpu()-before)/n, "cpu-ns/delivery")
			b.ReportMetric(0, "ns/op")
		})
	}
	hub := func(batch int) func(b *testing.B, w *world, i int) {
		return func(b *testing.B, w *world, i int) {
			part := w.g.partition("demo", "room")
			list := make([]command, batch)
			for j := range list {
				list[j] = command{kind: doFromOwner, part: part, epoch: 1, node: "n1", what: delivery(i*batch + j)}
			}
			in := w.g.shardOfPart(part).in
			in.mu.Lock()
			for _, c := range list {
				in.put(c)
			}
			in.mu.Unlock()
			settleShard(w.g.shardOfPart(part))
		}
	}
	var fds []int
	run("floor", 1, func(b *testing.B, w *world, i int) {
		if i == 0 {
			fds = fds[:0]
			w.g.sweeper.each(func(c *conn) { c.rc.Control(func(fd uintptr) { fds = append(fds, int(fd)) }) })
		}
		frame := seal(protocol.AppendMessage(begin(nil), protocol.JSON, "room", delivery(i)), protocol.JSON)
		for _, fd := range fds {
			for {
				if _, err := syscall.Write(fd, frame); err != syscall.EAGAIN {
					break
				}
				runtime.Gosched()
			}
		}
	})
	run("alone", 1, hub(1))
	run("together-16", 16, hub(16))
}

// BenchmarkPublish is the way of one publish in and its ACK and echo out, one connection, 200 in flight, an owner that
// answers at once.
func BenchmarkPublish(b *testing.B) {
	w := newWorld(b, true, func(c *GatewayConfig) { c.Shards = 0 })
	defer w.close()
	raw := crowd(b, w, 1, func(int) string { return "room" })[0]
	defer raw.Close()
	w.warm("room")
	br := bufio.NewReaderSize(raw, 64<<10)
	acked := make(chan int, 1024)
	go func() {
		defer close(acked)
		for {
			f, err := nextFrame(br)
			if err != nil {
				return
			}
			if pm, _ := protocol.Decode(protocol.JSON, f); pm.Action == protocol.ActionAck {
				acked <- pm.Count
			}
		}
	}()
	m := channel.Message{Name: "m", Kind: channel.StringData, Data: []byte(strings.Repeat("x", 128))}
	before := cpu()
	inflight := 0
	b.ReportAllocs()
	for i := range b.N {
		for inflight >= 200 {
			inflight -= <-acked
		}
		writeMasked(b, raw, protocol.AppendPublish(nil, protocol.JSON, "room", int64(i), nil, m))
		inflight++
		if i%256 == 0 {
			w.owner.set(func(o *owner) { o.heard = o.heard[:0] })
		}
	}
	for inflight > 0 {
		inflight -= <-acked
	}
	b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
}

// BenchmarkIdleConnection reports what one connection attached to a channel of its own costs when nothing happens, after
// a collection. The clients live in the same process: "floor" is what they and the kernel's side in the runtime cost with
// a server that keeps nothing but the accepted socket, and is subtracted.
func BenchmarkIdleConnection(b *testing.B) {
	const n = 2000
	w := newWorld(b, true, func(c *GatewayConfig) { c.Shards = 0 })
	defer w.close()
	measure := func() (heap, stack int64) {
		for range 3 {
			runtime.GC()
			time.Sleep(50 * time.Millisecond)
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc), int64(m.StackInuse)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	for range b.N {
		h0, _ := measure()
		var bare []net.Conn
		for range n {
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			a, err := ln.Accept()
			if err != nil {
				b.Fatal(err)
			}
			bare = append(bare, c, a)
		}
		h1, _ := measure()
		for _, c := range bare {
			c.Close()
		}
		bare = nil
		h2, s2 := measure()
		clients := crowd(b, w, n, func(i int) string { return "room:" + strconv.Itoa(i) })
		w.owner.set(func(o *owner) { o.heard = nil; clear(o.counts); clear(o.watched) })
		h3, s3 := measure()
		if st := w.g.Stats(); st.Connections != n || st.Attachments != n {
			b.Fatalf("%d connections, %d attachments", st.Connections, st.Attachments)
		}
		bareSocket := (h1 - h0) / (2 * n) // the clients' own sockets
		b.ReportMetric(float64((h3-h2)/n-bareSocket), "heap-B/conn")
		b.ReportMetric(float64((s3-s2)/n), "stack-B/conn")
		b.ReportMetric(float64(bareSocket), "bare-socket-B")
		if path := os.Getenv("HEAPPROFILE"); path != "" {
			writeHeap(b, path)
		}
		for _, c := range clients {
			c.Close()
		}
		for w.g.Stats().Connections > 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// BenchmarkLeave has everybody leave a channel on which each has members, as when all clients of a node that was drained came
// here and go on again. cpu-ns/leaver is that of the whole process.
func BenchmarkLeave(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			w := newWorld(b, false, func(c *GatewayConfig) { c.Shards = 1 })
			defer w.close()
			s := w.g.shards[0]
			name, err := protocol.ParseName("room")
			if err != nil {
				b.Fatal(err)
			}
			leaving, left := int64(0), 0
			for left < b.N {
				clients := make([]*attachment, n)
				for i := range clients {
					c := &conn{g: w.g, id: strconv.Itoa(i), resumed: true}
					c.out.seal(nil, false) // it is sent nothing
					clients[i] = c.newAttachment("room", name)
					s.in.force(command{kind: doAttach, what: &attachOrder{a: clients[i], granted: protocol.DefaultModes}})
				}
				settleShard(s)
				done := make(chan struct{})
				s.in.force(command{kind: doInspect, what: func(s *shard) {
					defer close(done)
					if ch := clients[0].ch; ch == nil || len(ch.holds) != n || len(ch.waiting) > 0 {
						b.Error("not all of them are there")
					}
					before := cpu()
					for _, a := range clients {
						s.leave(a, true)
					}
					leaving += cpu() - before
				}})
				<-done
				left += n
				w.owner.set(func(o *owner) { o.heard = o.heard[:0] })
			}
			b.ReportMetric(float64(leaving)/float64(left), "cpu-ns/leaver")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func writeHeap(b testing.TB, path string) {
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if err := pprof.Lookup("heap").WriteTo(f, 0); err != nil {
		b.Fatal(err)
	}
}
