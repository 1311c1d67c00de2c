package protocol

import "testing"

func TestPrivileged(t *testing.T) {
	for extras, want := range map[string]string{
		`{"privileged":{"skipRule":"*"}}`: `{"skipRule":"*"}`, `{"privileged":{}}`: `{}`, `{"headers":{},"privileged":"x"}`: `"x"`,
		``: ``, `{}`: ``, `{"privileged":null}`: ``, `{"Privileged":{"skipRule":"*"}}`: ``, `{"headers":{"privileged":{}}}`: ``,
		`{"privileged":{},"privileged":null}`: ``, `{"privileged":null,"privileged":{}}`: `{}`, `{"x":"\"privileged\""}`: ``,
	} {
		if got := Privileged([]byte(extras)); string(got) != want {
			t.Errorf("%s: %s, want %s", extras, got, want)
		}
	}
}
