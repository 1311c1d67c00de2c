package memnet

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestKillResetsAndRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		a, b := pair(t, n)
		dead := n.Host(ipB)
		l, _ := dead.Listen(":9")
		s, _ := dead.ListenPacket(":9")
		ends := make(chan error, 3)
		go func() { _, err := b.Read(make([]byte, 1)); ends <- err }()
		go func() { _, err := l.Accept(); ends <- err }()
		go func() { _, _, err := s.ReadFrom(make([]byte, 1)); ends <- err }()
		synctest.Wait()
		n.Kill(ipB)
		mustFail(t, a, syscall.ECONNRESET)
		for range 3 {
			if err := <-ends; err == nil {
				t.Error("a call on the dead host succeeded")
			}
		}
		if _, err := n.Host(ipA).Dial(t.Context(), ipB+":9"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial to the dead: %v", err)
		}
		if _, err := dead.Dial(t.Context(), ipA+":9"); !errors.Is(err, syscall.ENETDOWN) {
			t.Errorf("dial by the dead: %v", err)
		}
		if _, err := dead.Listen(":9"); !errors.Is(err, syscall.ENETDOWN) {
			t.Errorf("listen by the dead: %v", err)
		}
		alive := n.Revive(ipB)
		if alive == dead || n.Host(ipB) != alive {
			t.Fatal("revive must give a new process")
		}
		if _, err := alive.Listen(":9"); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Host(ipA).Dial(t.Context(), ipB+":9"); err != nil {
			t.Errorf("dial to the new: %v", err)
		}
		if _, err := dead.Listen(":10"); !errors.Is(err, syscall.ENETDOWN) {
			t.Errorf("the dead one listens again: %v", err)
		}
	})
}

// Hosts that share many connections and are killed at the same time must not wait for each other.
func TestKillAllAtOnce(t *testing.T) {
	for range 10 {
		bubble(t, func(t *testing.T, n *Network) {
			l, err := n.Host(ipB).Listen(":9")
			if err != nil {
				t.Fatal(err)
			}
			for range 2000 {
				if _, err := n.Host(ipA).Dial(t.Context(), ipB+":9"); err != nil {
					t.Fatal(err)
				}
				if _, err := l.Accept(); err != nil {
					t.Fatal(err)
				}
			}
			var wg sync.WaitGroup
			for _, ip := range []string{ipA, ipB} {
				wg.Go(func() { n.Kill(ip) })
			}
			wg.Wait()
		})
	}
}

func TestExitClosesInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		a, b := pair(t, n)
		mustWrite(t, b, "bye")
		n.Exit(ipB)
		mustRead(t, a, "bye")
		mustFail(t, a, io.EOF)
		n.Revive(ipB)
		a, _ = pair(t, n)
		mustWrite(t, a, "unread")
		n.Exit(ipB)
		mustFail(t, a, syscall.ECONNRESET)
	})
}

func TestCutHoldsBytesUntilHealed(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		a, b := pair(t, n)
		n.Wire(ipA, ipB, Wiring{There: true, Back: true})
		mustWrite(t, a, "held")
		got := make(chan time.Duration)
		began := time.Now()
		go func() {
			mustRead(t, b, "held")
			got <- time.Since(began)
		}()
		dialed := make(chan time.Duration)
		n.Host(ipB).Listen(":9")
		go func() {
			if _, err := n.Host(ipA).Dial(t.Context(), ipB+":9"); err != nil {
				t.Error(err)
			}
			dialed <- time.Since(began)
		}()
		time.Sleep(5 * time.Second)
		n.Wire(ipA, ipB, Wiring{There: true, Back: true}) // as it is
		time.Sleep(5 * time.Second)
		n.Wire(ipA, ipB, Wiring{})
		if d := <-got; d != 10*time.Second {
			t.Errorf("bytes arrived after %v", d)
		}
		if d := <-dialed; d != 10*time.Second {
			t.Errorf("dial succeeded after %v", d)
		}
		// A long cut without bytes under way leaves the connection whole, and the wait above is forgotten.
		n.Wire(ipA, ipB, Wiring{There: true, Back: true})
		time.Sleep(time.Hour)
		n.Wire(ipA, ipB, Wiring{})
		mustWrite(t, b, "still here")
		mustRead(t, a, "still here")
	})
}

func TestLongCutBreaksTheSender(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		a, b := pair(t, n)
		n.Wire(ipA, ipB, Wiring{There: true, Back: true})
		time.Sleep(time.Minute)
		mustWrite(t, a, "lost")
		began := time.Now()
		mustFail(t, a, syscall.ETIMEDOUT)
		if d := time.Since(began); d != BreakAfter {
			t.Errorf("broke after %v", d)
		}
		n.Wire(ipA, ipB, Wiring{})
		// The receiver's side is half open until it speaks.
		b.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := b.Read(make([]byte, 1)); !err.(net.Error).Timeout() {
			t.Errorf("half-open side: %v", err)
		}
		b.SetReadDeadline(time.Time{})
		mustWrite(t, b, "hello?")
		mustFail(t, b, syscall.ECONNRESET)
	})
}

func TestOneWayCut(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		n.SetBreakAfter(5 * time.Second)
		a, b := pair(t, n)
		n.Wire(ipA, ipB, Wiring{There: true})
		mustWrite(t, b, "through")
		mustRead(t, a, "through")
		// The acknowledgement cannot come back, so the sender gives up although its bytes arrived.
		began := time.Now()
		mustFail(t, b, syscall.ETIMEDOUT)
		if d := time.Since(began); d != 5*time.Second {
			t.Errorf("broke after %v", d)
		}
	})
}

func TestPauseHoldsWithoutBreaking(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		a, b := pair(t, n)
		n.Pause(ipB)
		mustWrite(t, a, "held")
		mustWrite(t, b, "held too")
		time.Sleep(time.Hour)
		synctest.Wait()
		n.Resume(ipB)
		mustRead(t, b, "held")
		mustRead(t, a, "held too")
	})
}

func TestIsolate(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		l, _ := n.Host(ipC).Listen(":1")
		a, b := pair(t, n)
		n.Isolate(ipB)
		mustWrite(t, a, "x")
		b.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := b.Read(make([]byte, 1)); err == nil {
			t.Error("bytes crossed the isolation")
		}
		if _, err := n.Host(ipA).Dial(t.Context(), l.Addr().String()); err != nil {
			t.Errorf("others are cut too: %v", err)
		}
		b.SetReadDeadline(time.Time{})
		n.Rejoin(ipB)
		mustRead(t, b, "x")
	})
}

func TestReject(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		a, b := pair(t, n)
		n.Host(ipB).Listen(":1")
		n.Wire(ipA, ipB, Wiring{Reject: true})
		if _, err := n.Host(ipA).Dial(t.Context(), ipB+":1"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial: %v", err)
		}
		mustWrite(t, a, "x")
		mustFail(t, a, syscall.ECONNRESET)
		mustWrite(t, b, "x")
		mustFail(t, b, syscall.ECONNRESET)
		n.HealAll()
		a, b = pair(t, n)
		mustWrite(t, a, "x")
		mustRead(t, b, "x")
	})
}

func TestHeldResetArrivesAfterHeal(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		a, _ := pair(t, n)
		n.Isolate(ipB)
		n.Kill(ipB)
		a.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := a.Read(make([]byte, 1)); !err.(net.Error).Timeout() {
			t.Errorf("cut off from a death: %v", err)
		}
		a.SetReadDeadline(time.Time{})
		n.HealAll()
		mustFail(t, a, syscall.ECONNRESET)
	})
}

func TestPackets(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		a, err := n.Host(ipA).ListenPacket(":5")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := n.Host(ipB).ListenPacket(":5")
		buf := make([]byte, 100)
		send := func(s string) {
			if k, err := a.WriteTo([]byte(s), b.LocalAddr()); k != len(s) || err != nil {
				t.Fatalf("send %q: %d, %v", s, k, err)
			}
		}
		recv := func() string {
			b.SetReadDeadline(time.Now().Add(time.Second))
			k, from, err := b.ReadFrom(buf)
			if err != nil {
				if !err.(net.Error).Timeout() {
					t.Fatal(err)
				}
				return ""
			}
			if from.String() != ipA+":5" {
				t.Errorf("from %v", from)
			}
			return string(buf[:k])
		}
		n.Delay(ipA, ipB, 20*time.Millisecond, 0)
		began := time.Now()
		send("one")
		if got := recv(); got != "one" || time.Since(began) != 20*time.Millisecond {
			t.Errorf("got %q after %v", got, time.Since(began))
		}
		n.Wire(ipA, ipB, Wiring{There: true})
		send("cut")
		n.Wire(ipA, ipB, Wiring{})
		if got := recv(); got != "" {
			t.Errorf("got %q over a cut", got)
		}
		send("under way")
		n.Pause(ipB)
		if got := recv(); got != "" {
			t.Errorf("got %q on a paused host", got)
		}
		n.Resume(ipB)
		n.DuplicatePackets(ipA, ipB, 1)
		send("twice")
		if x, y, z := recv(), recv(), recv(); x != "twice" || y != "twice" || z != "" {
			t.Errorf("got %q %q %q", x, y, z)
		}
		n.DuplicatePackets(ipA, ipB, 0)
		n.DropPackets(ipA, ipB, 0.5)
		got := 0
		for range 400 {
			send("x")
			if recv() != "" {
				got++
			}
		}
		if got < 120 || got > 280 {
			t.Errorf("%d of 400 packets arrived at a loss of a half", got)
		}
		n.DropPackets(ipA, ipB, 0)
		for range packetQueue + 100 {
			send("flood")
		}
		time.Sleep(time.Second)
		got = 0
		for recv() != "" {
			got++
		}
		if got != packetQueue {
			t.Errorf("%d packets were kept, want %d", got, packetQueue)
		}
		if _, err := a.WriteTo(make([]byte, packetMax+1), b.LocalAddr()); !errors.Is(err, syscall.EMSGSIZE) {
			t.Errorf("oversize: %v", err)
		}
		a.Close()
		if _, err := a.WriteTo(nil, b.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		n.DefaultDelay(time.Second, time.Second)
		a, b := pair(t, n)
		l, _ := n.Host(ipC).Listen(":1")
		n.Isolate(ipB)
		go a.Read(make([]byte, 1))
		go b.Read(make([]byte, 1))
		go a.Write(make([]byte, 1<<20))
		go l.Accept()
		go n.Host(ipA).Dial(t.Context(), ipB+":1")
		synctest.Wait()
		n.Close()
		if _, err := n.Host("10.0.0.9").Listen(":1"); err == nil {
			t.Error("a closed network takes listeners")
		}
		// The bubble fails the test if one of the goroutines stays.
	})
}

func TestRefusedPort(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		a, b := pair(t, n)
		l, err := n.Host(ipB).Listen(":77")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		n.RefusePort(ipA, ipB, 77)
		if _, err := n.Host(ipA).Dial(t.Context(), ipB+":77"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial: %v", err)
		}
		mustWrite(t, a, "goes on")
		mustRead(t, b, "goes on")
		n.RefusePort(ipA, ipB, 0)
		if _, err := n.Host(ipA).Dial(t.Context(), ipB+":77"); err != nil {
			t.Errorf("dial: %v", err)
		}
	})
}
