package ports

import (
	"net"
	"strconv"
	"testing"
)

func TestFreePortsDifferAndCanBeBound(t *testing.T) {
	found, err := Free(20)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range found {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
		if err != nil {
			t.Errorf("port %d: %v", p, err) // a port that came twice fails here too
			continue
		}
		defer l.Close()
		if free(p) {
			t.Errorf("port %d counts as free while somebody listens", p)
		}
	}
}
