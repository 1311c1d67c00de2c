package protocol

import "testing"

func TestWithUserClaim(t *testing.T) {
	for _, c := range []struct{ extras, text, want string }{
		{``, ``, ``},
		{``, `host`, `{"userClaim":"host"}`},
		{`{"headers":{"a":1}}`, ``, `{"headers":{"a":1}}`},
		{`{"headers":{"a":1}}`, `host`, `{"headers":{"a":1},"userClaim":"host"}`},
		{`{"userClaim":"admin"}`, ``, ``},
		{`{"userClaim":"admin","x":1}`, `host`, `{"userClaim":"host","x":1}`},
		{`{"userClaim":"a","userClaim":"b","x":1}`, ``, `{"x":1}`},
		{`{"user\u0043laim":"admin"}`, ``, ``},
		{`{"user\u0043laim":"admin","x":1}`, ``, `{"x":1}`},
		{`{"x":"a\\b"}`, ``, `{"x":"a\\b"}`},
		{`{"headers":{"userClaim":"x"}}`, ``, `{"headers":{"userClaim":"x"}}`},
	} {
		if got := string(WithUserClaim([]byte(c.extras), c.text)); got != c.want {
			t.Errorf("%s with %q is %s, want %s", c.extras, c.text, got, c.want)
		}
	}
}
