package main

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// floorCmd is the bare server: it accepts WebSockets and, on command, writes one frame to each of them, one write each.
// What it costs is what nobody can go below who writes every delivery by itself.
type floorCmd struct {
	Listen string `default:"127.0.0.1:0" help:"Address to listen on; it is printed."`
}

// Run serves until the process is ended.
func (f floorCmd) Run() error {
	l, err := net.Listen("tcp", f.Listen)
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return http.Serve(l, &floor{})
}

// floor holds the sockets.
type floor struct {
	mu    sync.Mutex
	conns []net.Conn
}

// ServeHTTP upgrades a request to a WebSocket, or sends: POST /send?count=N&interval=20ms with the payload as body.
func (f *floor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/send" {
		f.send(w, r)
		return
	}
	conn, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	f.mu.Lock()
	f.conns = append(f.conns, conn) // before the client learns that it is connected: the next send must reach it
	f.mu.Unlock()
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	drainClient(conn, buffered.Reader)
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, c := range f.conns {
		if c == conn {
			f.conns = append(f.conns[:i], f.conns[i+1:]...)
			break
		}
	}
}

// drainClient reads until the client is gone, as a server must to notice.
func drainClient(conn net.Conn, r *bufio.Reader) {
	defer conn.Close()
	io.Copy(io.Discard, r)
}

func (f *floor) send(w http.ResponseWriter, r *http.Request) {
	count, err := strconv.Atoi(r.URL.Query().Get("count"))
	interval, err2 := time.ParseDuration(r.URL.Query().Get("interval"))
	payload, err3 := io.ReadAll(r.Body)
	if err != nil || err2 != nil || err3 != nil {
		http.Error(w, "count, interval or body not understood", http.StatusBadRequest)
		return
	}
	frame := appendServerFrame(nil, opText, payload)
	f.mu.Lock()
	conns := append([]net.Conn(nil), f.conns...)
	f.mu.Unlock()
	start := time.Now()
	for i := range count {
		time.Sleep(time.Until(start.Add(time.Duration(i) * interval)))
		for _, c := range conns {
			c.Write(frame) // a client that is gone shows in the count of the load
		}
	}
}

// floorCost measures the bare server: count frames of payload to n sockets, one every interval. It returns the CPU per
// delivery.
func floorCost(ctx context.Context, dir string, payload []byte, n, count int, interval time.Duration) (time.Duration, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	dir, err = os.MkdirTemp(dir, "innkeeper-floor-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	p, err := startProcess(dir+"/log", self, "floor")
	if err != nil {
		return 0, err
	}
	defer p.stop()
	return measureFloor(ctx, p, payload, n, count, interval)
}

func measureFloor(ctx context.Context, p *process, payload []byte, n, count int, interval time.Duration) (time.Duration, error) {
	addr, err := p.firstLine(ctx)
	if err != nil {
		return 0, err
	}
	counts := newCounters(n)
	var conns []net.Conn
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for i := range n {
		conn, r, err := dialWebSocket(addr, "/", fanoutBuffer)
		if err != nil {
			return 0, err
		}
		conns = append(conns, conn)
		wg.Go(func() {
			readFrames(r, func(byte, []byte) error { counts.add(i); return nil })
		})
	}
	before, err := p.cpu()
	if err != nil {
		return 0, err
	}
	query := url.Values{"count": {strconv.Itoa(count)}, "interval": {interval.String()}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/send?"+query.Encode(), strings.NewReader(string(payload)))
	if err != nil {
		return 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	res.Body.Close()
	if err := counts.await(ctx, int64(count), nil); err != nil {
		return 0, fmt.Errorf("floor: %w", err)
	}
	after, err := p.cpu()
	return (after - before) / time.Duration(n*count), err
}

// firstLine waits for the first line of a process's output.
func (p *process) firstLine(ctx context.Context) (string, error) {
	for {
		text, err := os.ReadFile(p.log)
		if err != nil {
			return "", err
		}
		if line, _, ok := strings.Cut(string(text), "\n"); ok {
			return line, nil
		}
		if err := p.alive(); err != nil {
			return "", err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}
