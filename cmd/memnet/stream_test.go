package memnet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const (
	ipA = "10.0.0.1"
	ipB = "10.0.0.2"
	ipC = "10.0.0.3"
)

// bubble runs a test in fake time on a fresh network.
func bubble(t *testing.T, f func(t *testing.T, n *Network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		defer n.Close()
		f(t, n)
	})
}

// pair connects A to a listener on B.
func pair(t *testing.T, n *Network) (client, server net.Conn) {
	t.Helper()
	l, err := n.Host(ipB).Listen(ipB + ":0")
	if err != nil {
		t.Fatal(err)
	}
	client, err = n.Host(ipA).Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

func mustWrite(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatalf("write %q: %v", s, err)
	}
}

// mustRead reads exactly the bytes expected.
func mustRead(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if k, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read: got %q, %v; want %q", got[:k], err, want)
	}
}

// mustFail reads once and wants an error.
func mustFail(t *testing.T, c net.Conn, want error) {
	t.Helper()
	k, err := c.Read(make([]byte, 1))
	if !errors.Is(err, want) {
		t.Fatalf("read: got %d bytes, %v; want %v", k, err, want)
	}
}

func TestBytesArriveAfterLatencyInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		n.Delay(ipA, ipB, 10*time.Millisecond, 5*time.Millisecond)
		began := time.Now()
		a, b := pair(t, n)
		if d := time.Since(began); d < 20*time.Millisecond || d > 30*time.Millisecond {
			t.Errorf("dial took %v, want one round trip", d)
		}
		began = time.Now()
		go func() {
			for i := range 500 {
				if _, err := a.Write([]byte{byte(i)}); err != nil {
					t.Error(err)
				}
				time.Sleep(100 * time.Microsecond)
			}
		}()
		for i := range 500 {
			var one [1]byte
			if _, err := io.ReadFull(b, one[:]); err != nil || one[0] != byte(i) {
				t.Fatalf("byte %d: got %d, %v", i, one[0], err)
			}
			if i == 0 && time.Since(began) < 10*time.Millisecond {
				t.Errorf("first byte took %v, want at least 10ms", time.Since(began))
			}
		}
	})
}

func TestLargeStreamKeepsItsBytes(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		n.DefaultDelay(time.Millisecond, time.Millisecond)
		a, b := pair(t, n)
		rng := rand.New(rand.NewPCG(1, 2))
		sent := make([]byte, 5<<20)
		for i := range sent {
			sent[i] = byte(rng.Uint32())
		}
		go func() {
			for rest := sent; len(rest) > 0; {
				k := min(len(rest), rng.IntN(400<<10))
				if _, err := a.Write(rest[:k]); err != nil {
					t.Error(err)
					break
				}
				rest = rest[k:]
			}
			a.Close()
		}()
		got, err := io.ReadAll(b)
		if err != nil || sha256.Sum256(got) != sha256.Sum256(sent) {
			t.Fatalf("got %d bytes, %v; want the %d sent", len(got), err, len(sent))
		}
	})
}

func TestWriterWaitsForReader(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		a, b := pair(t, n)
		a.SetWriteDeadline(time.Now().Add(time.Second))
		k, err := a.Write(make([]byte, 1<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) || k != window {
			t.Fatalf("got %d, %v; want %d and the deadline", k, err, window)
		}
		a.SetWriteDeadline(time.Time{})
		go io.Copy(io.Discard, b)
		if _, err := a.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		a.Close()
	})
}

func TestDeadlines(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		a, b := pair(t, n)
		began := time.Now()
		a.SetReadDeadline(began.Add(3 * time.Second))
		_, err := a.Read(make([]byte, 1))
		var ne net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
			t.Fatalf("got %v, want a timeout", err)
		}
		if d := time.Since(began); d != 3*time.Second {
			t.Fatalf("waited %v", d)
		}
		// Moving it while somebody waits: first later, then to the past.
		a.SetReadDeadline(time.Now().Add(time.Second))
		go func() {
			time.Sleep(500 * time.Millisecond)
			a.SetReadDeadline(time.Now().Add(time.Hour))
			time.Sleep(2 * time.Second)
			a.SetReadDeadline(time.Unix(1, 0))
		}()
		began = time.Now()
		mustFail(t, a, os.ErrDeadlineExceeded)
		if d := time.Since(began); d != 2500*time.Millisecond {
			t.Fatalf("waited %v", d)
		}
		// And away again: the connection is whole.
		a.SetReadDeadline(time.Time{})
		mustWrite(t, b, "x")
		mustRead(t, a, "x")
	})
}

func TestOrderlyClose(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		n.DefaultDelay(time.Millisecond, 0)
		a, b := pair(t, n)
		mustWrite(t, a, "last")
		a.Close()
		mustRead(t, b, "last")
		mustFail(t, b, io.EOF)
		mustFail(t, a, net.ErrClosed)
		// The first bytes to a closed peer vanish and bring a reset.
		mustWrite(t, b, "too late")
		time.Sleep(10 * time.Millisecond)
		if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("got %v, want a reset", err)
		}
	})
}

func TestHalfClose(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		a, b := pair(t, n)
		mustWrite(t, a, "ask")
		a.(interface{ CloseWrite() error }).CloseWrite()
		if got, err := io.ReadAll(b); err != nil || string(got) != "ask" {
			t.Fatalf("got %q, %v", got, err)
		}
		mustWrite(t, b, "answer")
		b.Close()
		if got, err := io.ReadAll(a); err != nil || string(got) != "answer" {
			t.Fatalf("got %q, %v", got, err)
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Fatalf("got %v, want EPIPE", err)
		}
	})
}

func TestCloseWithUnreadBytesResets(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		a, b := pair(t, n)
		mustWrite(t, a, "unread")
		b.Close()
		mustFail(t, a, syscall.ECONNRESET)
	})
}

func TestCloseEndsWaitingCalls(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		a, _ := pair(t, n)
		var wg sync.WaitGroup
		wg.Go(func() { mustFail(t, a, net.ErrClosed) })
		wg.Go(func() {
			if _, err := a.Write(make([]byte, 1<<20)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("write: got %v", err)
			}
		})
		time.Sleep(time.Second)
		a.Close()
		wg.Wait()
	})
}

func TestListenAndDialErrors(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		b := n.Host(ipB)
		l, err := b.Listen(":700")
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Addr().String(); got != ipB+":700" {
			t.Errorf("address %s", got)
		}
		if _, err := b.Listen(ipB + ":700"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("second listen: %v", err)
		}
		if _, err := b.Listen(ipA + ":1"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("listen on another's address: %v", err)
		}
		if _, err := b.Listen("nonsense"); err == nil {
			t.Error("listen on nonsense succeeded")
		}
		dial := func(addr string) error {
			_, err := n.Host(ipA).Dial(t.Context(), addr)
			return err
		}
		if err := dial(ipB + ":701"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("unbound port: %v", err)
		}
		if err := dial("10.9.9.9:1"); !errors.Is(err, syscall.EHOSTUNREACH) {
			t.Errorf("unknown host: %v", err)
		}
		if _, err := b.Dial(t.Context(), "127.0.0.1:700"); err != nil {
			t.Errorf("loopback: %v", err)
		}
		done := make(chan error)
		go func() {
			l.Accept()
			_, err := l.Accept()
			done <- err
		}()
		synctest.Wait()
		l.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept: %v", err)
		}
		if err := dial(ipB + ":700"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("closed listener: %v", err)
		}
		if _, err := b.Listen(":700"); err != nil {
			t.Errorf("listen again: %v", err)
		}
	})
}

func TestConnectionsNobodyAcceptedAreReset(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		l, _ := n.Host(ipB).Listen(":1")
		c, err := n.Host(ipA).Dial(t.Context(), ipB+":1")
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		mustFail(t, c, syscall.ECONNRESET)
	})
}

func TestDialEndsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		n.Host(ipB).Listen(":1")
		n.Wire(ipA, ipB, Wiring{There: true, Back: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Host(ipA).Dial(ctx, ipB+":1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		began := time.Now()
		if _, err := n.Host(ipA).Dial(t.Context(), ipB+":1"); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("without a deadline: got %v", err)
		}
		if d := time.Since(began); d != dialTimeout {
			t.Errorf("gave up after %v", d)
		}
	})
}

func TestOutsideABubble(t *testing.T) {
	n := New(1)
	defer n.Close()
	n.DefaultDelay(time.Millisecond, time.Millisecond)
	a, b := pair(t, n)
	sent := bytes.Repeat([]byte("innkeeper"), 100_000)
	go func() {
		a.Write(sent)
		a.Close()
	}()
	if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
}
