package auth

import (
	"testing"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

func TestPrivilegesNeedTheirOperation(t *testing.T) {
	capability, err := ParseCapability(map[string][]string{"*": {"publish", "presence"}, "ops:*": {"privileged-headers"}, "all": {"*"}})
	if err != nil {
		t.Fatal(err)
	}
	id := Identity{Capability: capability}
	asks, plain := []byte(`{"privileged":{"skipRule":"*"}}`), []byte(`{"headers":{"privileged":"yes"}}`)
	for _, c := range []struct {
		resource string
		extras   []byte
		code     int
	}{
		{"room", nil, 0}, {"room", plain, 0}, {"room", asks, protocol.CodeNoCapability}, {"ops:x", asks, 0}, {"all", asks, 0},
		{"room", []byte(`{"privileged":null}`), 0}, {"room", []byte(`{"privileged":{}}`), protocol.CodeNoCapability},
	} {
		messages := []channel.Message{{Extras: plain}, {Extras: c.extras}}
		members := []channel.Member{{}, {Extras: c.extras}}
		for _, err := range []*protocol.ErrorInfo{id.MayPrivilege(messages, c.resource), id.MayPrivilegeMembers(members, c.resource)} {
			code := 0
			if err != nil {
				code = err.Code
			}
			if code != c.code {
				t.Errorf("%s on %s: %d, want %d", c.extras, c.resource, code, c.code)
			}
		}
	}
}
