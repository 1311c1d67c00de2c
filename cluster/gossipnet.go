package cluster

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// gossipNet carries memberlist over the listeners and the network that the node was given. Two goroutines, one per listener,
// hand on what arrives; they end with Shutdown, which also ends every stream, so that nothing of memberlist waits on.
type gossipNet struct {
	ln        net.Listener
	pc        net.PacketConn
	net       Net
	advertise netip.AddrPort
	count     *counters
	packets   chan *memberlist.Packet
	streams   chan net.Conn
	ctx       context.Context
	cancel    context.CancelFunc
	wg        sync.WaitGroup

	mu    sync.Mutex
	conns map[*gossipStream]bool // open streams; nil after Shutdown
}

var _ memberlist.Transport = (*gossipNet)(nil)

// packetMax is the largest packet read; memberlist sends smaller ones.
const packetMax = 65536

func newGossipNet(cfg *Config, advertise netip.AddrPort, count *counters) *gossipNet {
	t := &gossipNet{
		ln: cfg.GossipListener, pc: cfg.GossipPacket, net: cfg.Net, advertise: advertise, count: count,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn),
		conns: map[*gossipStream]bool{},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.wg.Go(t.acceptStreams)
	t.wg.Go(t.readPackets)
	return t
}

// FinalAdvertiseAddr is the address others are told.
func (t *gossipNet) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.advertise.Addr().AsSlice(), int(t.advertise.Port()), nil
}

// WriteTo sends one packet.
func (t *gossipNet) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, fmt.Errorf("cluster: gossip to %q: %w", addr, err)
	}
	if _, err = t.pc.WriteTo(b, net.UDPAddrFromAddrPort(to)); err != nil {
		t.count.gossipPacketBad.Add(1)
	}
	return time.Now(), err
}

// PacketCh gives the packets that arrive.
func (t *gossipNet) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh gives the streams that others open.
func (t *gossipNet) StreamCh() <-chan net.Conn { return t.streams }

// DialTimeout opens a stream to another node.
func (t *gossipNet) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	conn, err := t.net.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return t.track(conn)
}

// Shutdown ends everything and waits for the goroutines of the transport.
func (t *gossipNet) Shutdown() error {
	t.cancel()
	t.ln.Close()
	t.pc.Close()
	t.mu.Lock()
	for c := range t.conns {
		c.Conn.Close()
	}
	t.conns = nil
	t.mu.Unlock()
	t.wg.Wait()
	return nil
}

// gossipStream is a stream that Shutdown can reach.
type gossipStream struct {
	net.Conn
	net *gossipNet
}

func (t *gossipNet) track(conn net.Conn) (net.Conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns == nil {
		conn.Close()
		return nil, net.ErrClosed
	}
	s := &gossipStream{conn, t}
	t.conns[s] = true
	return s, nil
}

func (s *gossipStream) Close() error {
	s.net.mu.Lock()
	delete(s.net.conns, s)
	s.net.mu.Unlock()
	return s.Conn.Close()
}

func (t *gossipNet) acceptStreams() {
	for {
		conn, err := t.ln.Accept()
		if err != nil {
			if !t.pause() {
				return
			}
			continue
		}
		s, err := t.track(conn)
		if err != nil {
			return
		}
		select {
		case t.streams <- s:
		case <-t.ctx.Done():
			s.Close()
			return
		}
	}
}

func (t *gossipNet) readPackets() {
	buf := make([]byte, packetMax)
	for {
		n, from, err := t.pc.ReadFrom(buf)
		if err != nil {
			if !t.pause() {
				return
			}
			continue
		}
		t.count.gossipPackets.Add(1)
		select {
		case t.packets <- &memberlist.Packet{Buf: bytes.Clone(buf[:n]), From: from, Timestamp: time.Now()}:
		case <-t.ctx.Done():
			return
		}
	}
}

// pause waits a moment after a failure that may pass; false when the transport is shut down.
func (t *gossipNet) pause() bool {
	select {
	case <-t.ctx.Done():
		return false
	case <-time.After(50 * time.Millisecond):
		return true
	}
}

// gossipLog passes memberlist's lines on as debug messages: it calls errors what is its daily business.
type gossipLog struct{ log *slog.Logger }

func (w gossipLog) Write(b []byte) (int, error) {
	if w.log.Enabled(context.Background(), slog.LevelDebug) {
		w.log.Debug("gossip", "line", string(bytes.TrimSpace(b)))
	}
	return len(b), nil
}
