package memnet

import (
	"net"
	"os"
	"syscall"
)

// opError wraps an error as package net does, so that errors.Is and errors.As see what they see on real sockets.
func opError(op, network string, source, addr net.Addr, err error) error {
	if no, ok := err.(syscall.Errno); ok {
		call := op
		if op == "dial" {
			call = "connect"
		}
		err = os.NewSyscallError(call, no)
	}
	return &net.OpError{Op: op, Net: network, Source: source, Addr: addr, Err: err}
}
