package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestFramesComeBackAsTheyWentOut(t *testing.T) {
	payloads := []string{"", "a", strings.Repeat("b", 125), strings.Repeat("c", 126), strings.Repeat("d", 1000), strings.Repeat("e", 70_000)}
	var stream []byte
	for _, p := range payloads {
		stream = appendServerFrame(stream, opText, []byte(p))
	}
	for _, size := range []int{16, 4096, 1 << 20} {
		var got []string
		err := readFrames(bufio.NewReaderSize(bytes.NewReader(stream), size), func(op byte, p []byte) error {
			if op != opText {
				t.Errorf("op %d", op)
			}
			got = append(got, string(p))
			return nil
		})
		if err != io.EOF || !reflect.DeepEqual(got, payloads) {
			t.Errorf("buffer of %d: %d frames, %v", size, len(got), err)
		}
	}
}

func TestActionOf(t *testing.T) {
	for text, want := range map[string]int{
		`{"action":15,"channel":"c"}`: 15, `{"action":0}`: 0, `{"channel":"c","action":11}`: 11, `{ "action": 4 }`: 4, `{}`: 0, `nonsense`: -1,
	} {
		if got := actionOf([]byte(text)); got != want {
			t.Errorf("actionOf(%s) = %d, want %d", text, got, want)
		}
	}
}

func TestParseCPU(t *testing.T) {
	got, err := parseCPU([]byte("12 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 9 0"))
	if err != nil || got != 2*time.Second {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := parseCPU([]byte("12 (a) S 1")); err == nil {
		t.Error("a short line was accepted")
	}
}

func TestTransitionRate(t *testing.T) {
	got, ok := transitionRate("BenchmarkTransitions/a-2  1  5 ns/op  61234 transitions/s\nBenchmarkTransitions/b-2  1  5 ns/op  1.2e+05 transitions/s\n")
	if !ok || got != 120_000 {
		t.Errorf("got %v, %v", got, ok)
	}
	if _, ok := transitionRate("PASS"); ok {
		t.Error("a rate out of nothing")
	}
}

func TestOwnProcessIsMeasured(t *testing.T) {
	p, err := startProcess(t.TempDir()+"/log", "sh", "-c", "echo here; while :; do :; done")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if line, err := p.firstLine(ctx); err != nil || line != "here" {
		t.Fatalf("first line %q, %v", line, err)
	}
	for used := time.Duration(0); used == 0; {
		if used, err = p.cpu(); err != nil || ctx.Err() != nil {
			t.Fatalf("cpu %v, %v", used, err)
		}
	}
	if size, err := p.memory(); err != nil || size <= 0 {
		t.Errorf("memory %d, %v", size, err)
	}
	p.stop()
	if _, err := p.cpu(); err == nil || !strings.Contains(err.Error(), "here") {
		t.Errorf("the error of a dead server must show its log: %v", err)
	}
}

// broker is enough of a server for the load: every attachment is on one node and every publish goes to all of them.
type broker struct {
	mu       sync.Mutex
	attached map[string]map[io.Writer]bool
}

func (b *broker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	say := func(to io.Writer, format string, args ...any) {
		to.Write(appendServerFrame(nil, opText, fmt.Appendf(nil, format, args...)))
	}
	fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	if r.URL.Query().Get("key") != key {
		say(conn, `{"action":9,"error":{"message":"wrong key","code":40101,"statusCode":401}}`)
		return
	}
	say(conn, `{"action":4,"connectionId":"x"}`)
	for {
		payload, err := readClientFrame(buffered.Reader)
		if err != nil {
			return
		}
		var f struct {
			Action    int
			Channel   string
			MsgSerial int
		}
		json.Unmarshal(payload, &f)
		b.mu.Lock()
		switch f.Action {
		case actionAttach:
			if b.attached[f.Channel] == nil {
				b.attached[f.Channel] = map[io.Writer]bool{}
			}
			b.attached[f.Channel][conn] = true
			say(conn, `{"action":11,"channel":%q,"flags":0}`, f.Channel)
		case actionDetach:
			delete(b.attached[f.Channel], conn)
			say(conn, `{"action":13,"channel":%q}`, f.Channel)
		case actionMessage:
			for to := range b.attached[f.Channel] {
				say(to, `{"action":15,"channel":%q,"messages":[{}]}`, f.Channel)
			}
			say(conn, `{"action":1,"msgSerial":%d,"count":1}`, f.MsgSerial)
		}
		b.mu.Unlock()
	}
}

// readClientFrame reads one frame of a client whose mask is zero.
func readClientFrame(r *bufio.Reader) ([]byte, error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	size := int(head[1] & 0x7f)
	if size == 126 {
		ext := make([]byte, 2)
		if _, err := io.ReadFull(r, ext); err != nil {
			return nil, err
		}
		size = int(ext[0])<<8 | int(ext[1])
	}
	rest := make([]byte, 4+size)
	_, err := io.ReadFull(r, rest)
	return rest[4:], err
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestLoadAgainstABroker(t *testing.T) {
	addr := serve(t, &broker{attached: map[string]map[io.Writer]bool{}})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	received := newCounters(20)
	subs, err := open(ctx, []string{addr}, 20, 512, func(int) string { return "bench:fanout" }, func(i int, _ []byte) { received.add(i) })
	if err != nil {
		t.Fatal(err)
	}
	defer subs.close()
	pub, err := connect(ctx, addr, 512, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer pub.close()
	f := &fanoutRun{pub: pub, subs: subs, received: received}
	if err := f.closedLoop(ctx, 100, 4); err != nil {
		t.Fatal(err)
	}
	if err := f.paced(ctx, 10, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := pub.awaitAcks(ctx, 0); err != nil {
		t.Fatal(err)
	}
	if received.least() != 110 || received.total() != 2200 {
		t.Errorf("the slowest received %d, all %d; want 110 and 2200", received.least(), received.total())
	}
	if err := subs[3].detach(ctx, "bench:fanout"); err != nil {
		t.Error(err)
	}
	subs[5].conn.Close()
	<-subs[5].done
	if err := f.closedLoop(ctx, 10, 1); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Errorf("a lost subscriber must end the measurement: %v", err)
	}
}

func TestFloorWritesToAll(t *testing.T) {
	f := &floor{}
	addr := serve(t, f)
	received := newCounters(5)
	for i := range 5 {
		conn, r, err := dialWebSocket(addr, "/", 512)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		go readFrames(r, func(_ byte, p []byte) error {
			if string(p) == "frame" {
				received.add(i)
			}
			return nil
		})
	}
	res, err := http.Post("http://"+addr+"/send?count=7&interval=1ms", "text/plain", strings.NewReader("frame"))
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", res, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := received.await(ctx, 7, nil); err != nil {
		t.Error(err)
	}
}

func TestReport(t *testing.T) {
	b := &bench{out: io.Discard, Dir: os.TempDir()}
	b.atMost("a", 12.34, "µs", 20)
	b.atMost("b", 25, "µs", 20)
	b.atLeast("c", 60_000, "/s", 50_000)
	b.ratio("d", 3*time.Microsecond, 2*time.Microsecond, 1.2)
	b.ratio("e", 3*time.Microsecond, 0, 1.2)
	var out strings.Builder
	b.table(&out)
	for _, line := range []string{
		"| a | 12.3 µs | ≤ 20 µs | yes |", "| b | 25 µs | ≤ 20 µs | **no** |", "| c | 60000/s | ≥ 50000/s | yes |",
		"| d | 1.50 × (3.00 µs, floor 2.00 µs) | ≤ 1.2 × | **no** |", "too small to be measured", "Machine: ",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is missing in:\n%s", line, out.String())
		}
	}
}
