package node

import (
	"errors"
	"net"
	"syscall"
)

// listenRemedy is what can be done about an address that cannot be listened on, in parentheses; "" where the error says all.
func listenRemedy(err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return " (no address is known for " + dns.Name + "; write an address of this machine, or a name that stands for one)"
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return " (is another process using it? choose another port or stop that process)"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return " (this machine does not have that address; write one that it has, or 0.0.0.0 for all of them)"
	case errors.Is(err, syscall.EACCES):
		return " (this user may not use that port; choose one from 1024 on, or allow it to the process)"
	}
	return ""
}
