package node

import "net"

// Reachable is an address with a wildcard host replaced by the host of one at which the node is known to be reached; ""
// if either is none.
func Reachable(addr, known string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		if host, _, err = net.SplitHostPort(known); err != nil {
			return ""
		}
	}
	return net.JoinHostPort(host, port)
}
