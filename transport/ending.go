package transport

import (
	"io"
	"time"

	"innkeeper/transport/protocol"
)

// ending says why a connection ended. Stats counts them by name.
type ending uint32

const (
	running       ending = iota
	endGone              // the socket failed or the peer closed it
	endSilent            // nothing was heard for two sweeps
	endClosed            // the client asked with CLOSE
	endLeft              // the client asked with DISCONNECT
	endRefused           // bad credentials, version or parameters at connect
	endProtocol          // a frame that cannot be read
	endAuth              // an AUTH that is not accepted
	endOverflow          // the client does not read fast enough
	endFenced            // the node may not serve clients
	endDrained           // the node is being stopped
	endExpired           // the token's time is over
	endRevoked           // the token or the key was revoked
	endSuperseded        // the client came back on another socket
	endLimited           // a limit of connections
	endFlood             // it published far above its limit
	numEndings
)

var endingNames = [numEndings]string{
	"running", "gone", "silent", "closed", "left", "refused", "protocol", "auth", "overflow", "fenced", "drained",
	"expired", "revoked", "superseded", "limited", "flood",
}

func (e ending) String() string { return endingNames[e] }

// final says that the client was told not to come back, or asked to be let go: its connection cannot be resumed.
func (e ending) final() bool {
	switch e {
	case endClosed, endRefused, endProtocol, endAuth:
		return true
	}
	return false
}

const (
	// lingerTimeout bounds the goodbye of a connection: writing its last frames, and then waiting for the peer to close.
	// Who takes nothing for so long is not told why: waiting longer would keep a frame and two goroutines for each of those
	// who do not read, just when there are many.
	lingerTimeout = time.Second
	// lingerBytes bounds what is read and thrown away meanwhile.
	lingerBytes = 1 << 20
)

// longAgo as a deadline wakes a read at once.
var longAgo = time.Unix(1, 0)

// end ends the connection once: the last frames go into its outbox, and the read loop is woken to let go of everything.
// It never waits and may be called from any goroutine. final is nil or a payload made by begin and an Append function;
// status is that of the WebSocket's close frame, 0 for none.
func (c *conn) end(why ending, status uint16, final []byte) {
	if !c.ended.CompareAndSwap(uint32(running), uint32(why)) {
		return
	}
	c.g.count.endings[why].Add(1)
	var last []byte
	if final != nil {
		last = seal(final, c.format)
	}
	if status != 0 {
		last = append(last, closeFrame(status)...)
	}
	c.out.seal(last, why == endOverflow)
	c.flushNow()
	c.wake()
}

// abort ends a connection whose socket has failed.
func (c *conn) abort() {
	if c.ended.CompareAndSwap(uint32(running), uint32(endGone)) {
		c.g.count.endings[endGone].Add(1)
	}
	c.wake()
}

// wake gets the read loop out of whatever it waits for.
func (c *conn) wake() {
	c.raw.SetReadDeadline(longAgo)
	c.acks.leave()
}

// fail ends the connection with an ERROR, after which the client does not come back by itself.
func (c *conn) fail(why ending, status uint16, err *protocol.ErrorInfo) {
	c.end(why, status, protocol.AppendError(begin(nil), c.format, err))
}

// dismiss ends the connection with a DISCONNECTED, after which the client comes back at once.
func (c *conn) dismiss(why ending, status uint16, err *protocol.ErrorInfo) {
	c.end(why, status, protocol.AppendDisconnected(begin(nil), c.format, err))
}

// overflow ends a connection that does not read what it is sent. What waits is dropped, which the client learns: it
// comes back and resumes from the last serial it saw.
func (c *conn) overflow() {
	c.dismiss(endOverflow, 1008, protocol.Errorf(protocol.CodeDisconnected,
		"the connection was not read fast enough: more than %d bytes waited to be sent; reconnect", c.g.cfg.OutboxBytes))
}

// finish is the read loop's last act: it writes what is left, gives the peer a moment to close first, so that the last
// frames are not lost to a reset, and closes the socket.
func (c *conn) finish() {
	why := ending(c.ended.Load())
	if drained := c.out.drained(); drained != nil && why != endSilent {
		t := time.NewTimer(lingerTimeout)
		select {
		case <-drained:
		case <-t.C:
		}
		t.Stop()
	}
	if why != endGone && why != endSilent {
		if half, ok := c.raw.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
		c.raw.SetReadDeadline(time.Now().Add(lingerTimeout))
		io.Copy(io.Discard, io.LimitReader(c.raw, lingerBytes))
	}
	c.raw.Close()
	c.ws.CloseNow() // only to disarm its finalizer
}
