package auth

import (
	"encoding/base64"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

func demoKeys() *Keys {
	return NewKeys([]Key{
		{App: "demo", ID: "root", Secret: "secret", Capability: AllowAll()},
		{App: "demo", ID: "none", Secret: "x"},
		{App: "other", ID: "root", Secret: "secret2", Capability: AllowAll()},
	})
}

func TestParseKey(t *testing.T) {
	app, id, secret, err := ParseKey("demo.root:se:cret")
	if app != "demo" || id != "root" || secret != "se:cret" || err != nil {
		t.Errorf("%q %q %q %v", app, id, secret, err)
	}
	for _, bad := range []string{"", "demo", "demo.root", "demo:topsecret", ".root:topsecret", "demo.:topsecret", "demo.root:", "de mo.root:topsecret", "demo.root:topsecret\n", "de\x00mo.root:topsecret"} {
		if _, _, _, err := ParseKey(bad); err == nil || strings.Contains(err.Error(), "topsecret") {
			t.Errorf("ParseKey(%q): %v", bad, err)
		}
	}
}

func TestAuthenticate(t *testing.T) {
	keys := demoKeys()
	for _, c := range []struct {
		name   string
		offer  Credentials
		client string
		code   int
	}{
		{"right key", Credentials{Key: "demo.root:secret"}, "*", 0},
		{"right key with a client id", Credentials{Key: "demo.root:secret", ClientID: "alice"}, "alice", 0},
		{"right key as any client", Credentials{Key: "demo.root:secret", ClientID: "*"}, "*", 0},
		{"wrong secret", Credentials{Key: "demo.root:secrex"}, "", 40101},
		{"secret of another app", Credentials{Key: "demo.root:secret2"}, "", 40101},
		{"unknown key", Credentials{Key: "demo.nope:secret"}, "", 40101},
		{"unknown app", Credentials{Key: "this.is:wrong"}, "", 40101},
		{"empty secret of an unknown key", Credentials{Key: "demo.nope:"}, "", 40005},
		{"not a key", Credentials{Key: "nonsense"}, "", 40005},
		{"nothing", Credentials{}, "", 40101},
		{"neither token nor JWT", Credentials{Token: "abc"}, "", 40005},
		{"client id too long", Credentials{Key: "demo.root:secret", ClientID: strings.Repeat("x", 1025)}, "", 40012},
		{"client id not text", Credentials{Key: "demo.root:secret", ClientID: "\xff"}, "", 40012},
	} {
		id, err := keys.Authenticate(c.offer)
		if c.code != 0 {
			if err == nil || err.Code != c.code || protocol.IsTokenError(err.Code) || !reflect.DeepEqual(id, Identity{}) {
				t.Errorf("%s: %+v, %v; want code %d", c.name, id, err, c.code)
			} else if c.code != 40012 && err.StatusCode != 401 {
				t.Errorf("%s: status %d", c.name, err.StatusCode)
			}
			continue
		}
		if err != nil || id.App != "demo" || id.KeyName != "demo.root" || id.ClientID != c.client || !id.Capability.Allows("x", Publish) {
			t.Errorf("%s: %+v, %v", c.name, id, err)
		}
		if id.Concrete() != (c.client == "alice") {
			t.Errorf("%s: Concrete() = %v", c.name, id.Concrete())
		}
	}
}

// REST tells an unknown key of a known app apart, as SDK tests ask for.
func TestAuthenticateREST(t *testing.T) {
	for key, want := range map[string]int{"demo.nope:secret": 40400, "nope.root:secret": 40101, "demo.root:wrong": 40101, "demo.root:secret": 0} {
		_, err := demoKeys().AuthenticateREST(Credentials{Key: key})
		if want == 0 && err != nil || want != 0 && (err == nil || err.Code != want || err.StatusCode != 401) {
			t.Errorf("%s: %v, want code %d", key, err, want)
		}
	}
}

func TestFromRequest(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString
	for _, c := range []struct {
		name, query, authorization, client string
		want                               Credentials
		code                               int
	}{
		{"nothing", "", "", "", Credentials{}, 0},
		{"key parameter", "key=demo.root:secret", "", "", Credentials{Key: "demo.root:secret"}, 0},
		{"a clientId that the request is about", "key=demo.root:secret&clientId=a", "", "", Credentials{Key: "demo.root:secret"}, 0},
		{"token parameter", "access_token=t", "", "", Credentials{Token: "t"}, 0},
		{"token parameter of the specification", "accessToken=t", "", "", Credentials{Token: "t"}, 0},
		{"basic", "", "Basic " + b64([]byte("demo.root:secret")), "", Credentials{Key: "demo.root:secret"}, 0},
		{"basic in another case, no padding", "", "bAsIc  " + strings.TrimRight(b64([]byte("demo.root:secret")), "="), "", Credentials{Key: "demo.root:secret"}, 0},
		{"header wins", "key=a.b:c", "Basic " + b64([]byte("demo.root:secret")), "", Credentials{Key: "demo.root:secret"}, 0},
		{"bearer key", "", "Bearer " + b64([]byte("demo.root:secret")), "", Credentials{Key: "demo.root:secret"}, 0},
		{"bearer raw key", "", "Bearer demo.root:secret", "", Credentials{Key: "demo.root:secret"}, 0},
		{"bearer token in base64", "", "Bearer " + b64([]byte("app.token!")), "", Credentials{Token: "app.token!"}, 0},
		{"bearer JWT", "", "Bearer eyJh.eyJz.c2ln", "", Credentials{Token: "eyJh.eyJz.c2ln"}, 0},
		{"client id header", "clientId=a", "", b64([]byte("älice")), Credentials{ClientID: "älice"}, 0},
		{"bad basic", "", "Basic %%%", "", Credentials{}, 40005},
		{"scheme", "", "Digest abc", "", Credentials{}, 40005},
		{"bad client id header", "", "", "%%%", Credentials{}, 40012},
	} {
		r := httptest.NewRequest("GET", "/?"+c.query, nil)
		if c.authorization != "" {
			r.Header.Set("Authorization", c.authorization)
		}
		if c.client != "" {
			r.Header.Set("X-Ably-ClientId", c.client)
		}
		got, err := FromRequest(r, r.URL.Query())
		if c.code == 0 && err != nil || c.code != 0 && (err == nil || err.Code != c.code) || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v, code %d", c.name, got, err, c.want, c.code)
		}
		if asked := r.URL.Query().Get("clientId"); c.want.ClientID == "" && c.code == 0 {
			c.want.ClientID = asked
		}
		if got, err := FromUpgrade(r, r.URL.Query()); c.code == 0 && (err != nil || got != c.want) {
			t.Errorf("%s, to upgrade: %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
}

func TestClaim(t *testing.T) {
	for _, c := range []struct {
		identity, message, want string
		code                    int
	}{
		{"alice", "", "alice", 0},
		{"alice", "alice", "alice", 0},
		{"alice", "bob", "", 40012},
		{"*", "", "", 0},
		{"*", "bob", "bob", 0},
		{"*", "*", "", 40012},
		{"", "", "", 0},
		{"", "bob", "", 40012},
	} {
		m := []channel.Message{{ClientID: c.message}}
		err := Identity{ClientID: c.identity}.Claim(m)
		if c.code != 0 {
			if err == nil || err.Code != c.code || err.StatusCode != 400 {
				t.Errorf("%q publishes as %q: %v, want code %d", c.identity, c.message, err, c.code)
			}
		} else if err != nil || m[0].ClientID != c.want {
			t.Errorf("%q publishes as %q: became %q, %v", c.identity, c.message, m[0].ClientID, err)
		}
	}
}

func TestReplaceWhileInUse(t *testing.T) {
	keys := demoKeys()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				if _, err := keys.Authenticate(Credentials{Key: "demo.root:secret"}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 200 {
		keys.Replace([]Key{{App: "demo", ID: "root", Secret: "secret"}})
	}
	wg.Wait()
	if keys.HasApp("other") || !keys.HasApp("demo") {
		t.Error("Replace keeps old apps")
	}
	if _, ok := keys.Lookup("demo", "none"); ok {
		t.Error("Replace keeps old keys")
	}
}

// Names of keys are ambiguous when ids hold dots; apps are not.
func TestLookupNeverCrossesApps(t *testing.T) {
	keys := NewKeys([]Key{{App: "a", ID: "b.c", Secret: "s"}})
	if k, ok := keys.Lookup("a.b", "c"); ok {
		t.Errorf("app a.b got %+v", k)
	}
	if _, ok := keys.Lookup("a", "b.c"); !ok {
		t.Error("app a lost its key")
	}
}
