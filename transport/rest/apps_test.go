package rest

import "testing"

func TestServedAt(t *testing.T) {
	for _, c := range []struct {
		host     string
		secure   bool
		endpoint string
		port     int
	}{
		{"example.com:8081", false, "example.com", 8081},
		{"example.com:8443", true, "example.com", 8443},
		{"example.com", false, "example.com", 80},
		{"example.com", true, "example.com", 443},
		{"127.0.0.1", false, "127.0.0.1", 80},
		{"[::1]:9000", false, "::1", 9000},
		{"[::1]", true, "::1", 443},
		{"", false, "", 0},
	} {
		if endpoint, port := servedAt(c.host, c.secure); endpoint != c.endpoint || port != c.port {
			t.Errorf("Host %q, TLS %v: %q, %d; want %q, %d", c.host, c.secure, endpoint, port, c.endpoint, c.port)
		}
	}
}
