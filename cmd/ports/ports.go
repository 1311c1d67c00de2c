// Package ports finds ports for processes that the tests and tools start a moment later.
package ports

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
)

// Most systems take the ports of outgoing connections from 32768 up. A port from there could be gone by the time the
// process listens, or be taken while the process is down between a kill and its restart.
const first, last = 20000, 32000

// Free returns n ports of 127.0.0.1 on which nobody listens, over TCP or UDP.
func Free(n int) ([]int, error) {
	var found []int
	seen := map[int]bool{}
	for tries := 0; len(found) < n; tries++ {
		if tries > 100*n {
			return nil, errors.New("no free ports on 127.0.0.1 between " + strconv.Itoa(first) + " and " + strconv.Itoa(last))
		}
		if p := first + rand.IntN(last-first); !seen[p] && free(p) {
			seen[p] = true
			found = append(found, p)
		}
	}
	return found, nil
}

func free(port int) bool {
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	l.Close()
	u, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	u.Close()
	return true
}
