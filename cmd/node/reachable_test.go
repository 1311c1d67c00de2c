package node

import "testing"

func TestReachable(t *testing.T) {
	for _, test := range []struct{ addr, known, want string }{
		{"10.0.0.1:8180", "10.0.0.9:7900", "10.0.0.1:8180"},
		{"0.0.0.0:8180", "10.0.0.9:7900", "10.0.0.9:8180"},
		{"[::]:8180", "[fd00::1]:7900", "[fd00::1]:8180"},
		{":8180", "n1.example:7900", "n1.example:8180"},
		{"", "10.0.0.9:7900", ""},
		{":8180", "", ""},
	} {
		if got := Reachable(test.addr, test.known); got != test.want {
			t.Errorf("Reachable(%q, %q) = %q, want %q", test.addr, test.known, got, test.want)
		}
	}
}
