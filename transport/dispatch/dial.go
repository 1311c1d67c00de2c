package dispatch

import (
	"context"
	"net"
	"time"
)

const (
	dialTimeout = 3 * time.Second  // of one connection; a request may give up on it sooner
	idleTimeout = 90 * time.Second // of a connection that nothing is sent on
)

// DialFunc opens a connection to host:port.
type DialFunc func(ctx context.Context, addr string) (net.Conn, error)

// hostDial opens TCP connections of the machine.
func hostDial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// dialer bounds a dial function and marks its errors, in the form that package http wants.
func dialer(dial DialFunc) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, _, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		conn, err := dial(ctx, addr)
		if err != nil {
			return nil, &dialError{err}
		}
		return conn, nil
	}
}

// dialError marks what a dial function returned.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }
