package auth

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"innkeeper/transport/protocol"
)

func tokenKeys(t testing.TB) *Keys {
	capability := func(text string) Capability {
		c, err := ParseCapabilityJSON(text)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	return NewKeys([]Key{
		{App: "demo", ID: "root", Secret: "secret", Capability: capability(`{"*":["*"]}`)},
		{App: "demo", ID: "two", Secret: "secret", Capability: capability(`{"b":["subscribe","publish"]}`), CapabilityText: `{"b": ["subscribe", "publish"]}`},
		{App: "demo", ID: "revocable", Secret: "secret3", Capability: capability(`{"*":["*"]}`), Revocable: true},
		{App: "other", ID: "root", Secret: "secret", Capability: AllowAll()},
	})
}

// request is a signed token request that is fine, changed by some fields.
func request(key string, fields ...string) *TokenRequest {
	r := &TokenRequest{KeyName: key, Timestamp: fmt.Sprint(time.Now().UnixMilli()), Nonce: "0123456789abcdef"}
	for i := 0; i < len(fields); i += 2 {
		switch fields[i] {
		case "ttl":
			r.TTL = fields[i+1]
		case "capability":
			r.Capability = fields[i+1]
		case "clientId":
			r.ClientID = fields[i+1]
		case "timestamp":
			r.Timestamp = fields[i+1]
		case "nonce":
			r.Nonce = fields[i+1]
		case "keyName":
			r.KeyName = fields[i+1]
		}
	}
	secret := "secret"
	if key == "demo.revocable" {
		secret = "secret3"
	}
	r.Sign(secret)
	return r
}

func issue(t testing.TB, k *Keys, key string, fields ...string) *TokenDetails {
	t.Helper()
	d, err := k.Issue(key, request(key, fields...), nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestIssue(t *testing.T) {
	k := tokenKeys(t)
	now := time.Now()
	ms := now.UnixMilli()
	for _, c := range []struct {
		name       string
		key        string
		fields     []string
		capability string
		ttl        int64
		code       int
	}{
		{"all defaults", "demo.root", nil, `{"*":["*"]}`, 3600000, 0},
		{"the key's own capability is told verbatim", "demo.two", nil, `{"b": ["subscribe", "publish"]}`, 3600000, 0},
		{"intersection", "demo.two", []string{"capability", `{"b":["*"],"c":["*"]}`}, `{"b":["publish","subscribe"]}`, 3600000, 0},
		{"ttl and client id", "demo.root", []string{"ttl", "100", "clientId", "alice"}, `{"*":["*"]}`, 100, 0},
		{"any client", "demo.root", []string{"clientId", "*"}, `{"*":["*"]}`, 3600000, 0},
		{"longest ttl", "demo.root", []string{"ttl", "86400000"}, `{"*":["*"]}`, 86400000, 0},
		{"ttl too long", "demo.root", []string{"ttl", "86400001"}, "", 0, 40003},
		{"ttl too long for a revocable key", "demo.revocable", []string{"ttl", "3600001"}, "", 0, 40003},
		{"ttl negative", "demo.root", []string{"ttl", "-1"}, "", 0, 40003},
		{"ttl no number", "demo.root", []string{"ttl", "x"}, "", 0, 40003},
		{"unknown key", "demo.nope", nil, "", 0, 40400},
		{"unknown app", "nope.root", nil, "", 0, 40400},
		{"another key in the body", "demo.root", []string{"keyName", "demo.two"}, "", 0, 40101},
		{"old", "demo.root", []string{"timestamp", fmt.Sprint(ms - 121_000)}, "", 0, 40104},
		{"of the future", "demo.root", []string{"timestamp", fmt.Sprint(ms + 121_000)}, "", 0, 40104},
		{"nearly old", "demo.root", []string{"timestamp", fmt.Sprint(ms - 119_000)}, `{"*":["*"]}`, 3600000, 0},
		{"timestamp no number", "demo.root", []string{"timestamp", "now"}, "", 0, 40003},
		{"short nonce", "demo.root", []string{"nonce", "0123456789abcde"}, "", 0, 40003},
		{"no nonce", "demo.root", []string{"nonce", ""}, "", 0, 40003},
		{"capability not JSON", "demo.root", []string{"capability", "x"}, "", 0, 40003},
		{"capability with an unknown operation", "demo.root", []string{"capability", `{"a":["fly"]}`}, "", 0, 40003},
		{"capability with * among others", "demo.root", []string{"capability", `{"a":["*","publish"]}`}, "", 0, 40003},
		{"capability with an empty list", "demo.root", []string{"capability", `{"a":[]}`}, "", 0, 40003},
		{"nothing in common", "demo.two", []string{"capability", `{"c":["*"]}`}, "", 0, 40160},
		{"client id too long", "demo.root", []string{"clientId", strings.Repeat("x", 1025)}, "", 0, 40012},
	} {
		d, err := k.Issue(c.key, request(c.key, c.fields...), nil, now)
		if c.code != 0 {
			if err == nil || err.Code != c.code || protocol.IsTokenError(err.Code) {
				t.Errorf("%s: %+v, %v; want %d", c.name, d, err, c.code)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if d.Capability != c.capability || d.Expires != d.Issued+c.ttl || d.Issued != ms || d.KeyName != c.key || !strings.HasPrefix(d.Token, "demo.") {
			t.Errorf("%s: %+v", c.name, d)
		}
	}
}

func TestIssueAsksForProof(t *testing.T) {
	k := tokenKeys(t)
	self, err := k.Authenticate(Credentials{Key: "demo.root:secret"})
	if err != nil {
		t.Fatal(err)
	}
	bare := &TokenRequest{TTL: "1000"}
	if d, err := k.Issue("demo.root", bare, &self, time.Now()); err != nil || d.Expires != d.Issued+1000 {
		t.Errorf("with the key itself: %+v, %v", d, err)
	}
	token, err := k.Authenticate(Credentials{Token: issue(t, k, "demo.root").Token})
	if err != nil {
		t.Fatal(err)
	}
	bad := request("demo.root")
	bad.MAC = request("demo.root", "ttl", "5").MAC
	for name, c := range map[string]struct {
		key string
		r   *TokenRequest
		by  *Identity
	}{
		"nobody":        {"demo.root", bare, nil},
		"another key":   {"demo.two", bare, &self},
		"with a token":  {"demo.root", bare, &token},
		"bad signature": {"demo.root", bad, &self},
	} {
		if _, err := k.Issue(c.key, c.r, c.by, time.Now()); err == nil || err.Code != 40101 || err.StatusCode != 401 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTokenRequestSigns(t *testing.T) {
	r := TokenRequest{KeyName: "app.key", TTL: "3600000", Capability: `{"*":["*"]}`, ClientID: "alice", Timestamp: "1700000000000", Nonce: "nonce-0123456789"}
	r.Sign("secret")
	// printf 'app.key\n3600000\n{"*":["*"]}\nalice\n1700000000000\nnonce-0123456789\n' | openssl dgst -sha256 -hmac secret -binary | base64
	if want := "g3jzTyJVgC7+4g+TazKPtfEYxUQEo8gIQ4JyJzt58Ns="; r.MAC != want {
		t.Errorf("mac %s, want %s", r.MAC, want)
	}
}

func TestParseTokenRequest(t *testing.T) {
	r, err := ParseTokenRequest([]byte(`{"keyName":"a.b","ttl":3600000,"timestamp":"1700000000000","capability":"{\"*\":[\"*\"]}","nonce":"n","mac":"m=","clientId":null,"x":[]}`))
	if err != nil || *r != (TokenRequest{"a.b", "3600000", `{"*":["*"]}`, "", "1700000000000", "n", "m="}) {
		t.Errorf("%+v, %v", r, err)
	}
	for text, code := range map[string]int{
		`[]`: 40001, `"x"`: 40001, `{"ttl":true}`: 40003, `{"ttl":[1]}`: 40003, `{"capability":{"*":["*"]}}`: 40003, `{"nonce":5}`: 40003,
	} {
		if _, err := ParseTokenRequest([]byte(text)); err == nil || err.Code != code {
			t.Errorf("%s: %v, want %d", text, err, code)
		}
	}
}

func TestTokenClientIDs(t *testing.T) {
	k := tokenKeys(t)
	for _, c := range []struct {
		token, param, want string
		code               int
	}{
		{"alice", "", "alice", 0},
		{"alice", "alice", "alice", 0},
		{"alice", "bob", "", 40102},
		{"alice", "*", "", 40102},
		{"*", "", "*", 0},
		{"*", "*", "*", 0},
		{"*", "alice", "alice", 0},
		{"", "", "", 0},
		{"", "alice", "", 40102},
	} {
		for kind, token := range map[string]string{
			"ours": issue(t, k, "demo.root", "clientId", c.token).Token,
			"jwt":  sign(t, "demo.root", "secret", jwt.MapClaims{"x-ably-clientId": c.token}),
		} {
			id, err := k.Authenticate(Credentials{Token: token, ClientID: c.param})
			if c.code != 0 {
				if err == nil || err.Code != c.code || err.StatusCode != 401 {
					t.Errorf("%s token for %q as %q: %v", kind, c.token, c.param, err)
				}
			} else if err != nil || id.ClientID != c.want || id.Token == nil || id.KeyName != "demo.root" || id.App != "demo" {
				t.Errorf("%s token for %q as %q: %+v, %v", kind, c.token, c.param, id, err)
			}
		}
	}
}

func TestTokensAreShort(t *testing.T) {
	k := tokenKeys(t)
	d := issue(t, k, "demo.root", "clientId", "a-client-with-some-name", "capability",
		`{"chat:room-1":["publish","subscribe","presence"],"chat:room-2":["*"],"[meta]log":["subscribe"],"private:a-client-with-some-name":["history"]}`)
	if len(d.Token) > 343 {
		t.Errorf("%d characters", len(d.Token))
	}
	if d2 := issue(t, k, "demo.root"); len(d2.Token) > 100 || d2.Token == issue(t, k, "demo.root").Token {
		t.Errorf("%d characters, or the same twice", len(d2.Token))
	}
}

// What a token allows follows its key.
func TestTokenCapabilityIsJudgedAtUse(t *testing.T) {
	k := tokenKeys(t)
	whole := issue(t, k, "demo.root").Token
	part := issue(t, k, "demo.root", "capability", `{"a":["publish","subscribe"]}`).Token
	k.Replace([]Key{{App: "demo", ID: "root", Secret: "secret", Capability: parse(t, `{"*":["publish"]}`)}})
	for token, want := range map[string]string{whole: `{"*":["publish"]}`, part: `{"a":["publish"]}`} {
		if id, err := k.Authenticate(Credentials{Token: token}); err != nil || id.Capability.String() != want {
			t.Errorf("%s, %v; want %s", id.Capability, err, want)
		}
	}
	k.Replace([]Key{{App: "demo", ID: "root", Secret: "changed", Capability: AllowAll()}})
	if _, err := k.Authenticate(Credentials{Token: whole}); err == nil || err.Code != 40143 {
		t.Errorf("with the secret changed: %v", err)
	}
	k.Replace([]Key{{App: "demo", ID: "two", Secret: "secret", Capability: AllowAll()}})
	if _, err := k.Authenticate(Credentials{Token: whole}); err == nil || err.Code != 40143 {
		t.Errorf("with the key gone: %v", err)
	}
}

func TestTokensExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := tokenKeys(t)
		token := issue(t, k, "demo.root", "ttl", "100").Token
		if _, err := k.Authenticate(Credentials{Token: token}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		if _, err := k.Authenticate(Credentials{Token: token}); err == nil || err.Code != 40142 || err.StatusCode != 401 {
			t.Errorf("%v", err)
		}
		if _, err := k.AuthenticateREST(Credentials{Token: token}); err == nil || err.Code != 40140 || err.StatusCode != 401 {
			t.Errorf("REST: %v", err)
		}
	})
}

func TestTokensThatAreNone(t *testing.T) {
	k := tokenKeys(t)
	good := issue(t, k, "demo.root").Token
	raw, _ := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(good, "demo."))
	raw[len(raw)-1] ^= 1
	for name, c := range map[string]struct {
		token string
		code  int
	}{
		"no dot":               {"abcdef", 40005},
		"not base64":           {"demo.###", 40145},
		"another version":      {"demo.AAAAAAAA", 40145},
		"cut off":              {good[:len("demo.")+8], 40145},
		"of another app":       {"other" + strings.TrimPrefix(good, "demo"), 40143},
		"of an app not known":  {"nope" + strings.TrimPrefix(good, "demo"), 40143},
		"changed":              {"demo." + base64.RawURLEncoding.EncodeToString(raw), 40143},
		"key instead":          {"demo.root:secret", 40145},
		"JWT of nothing":       {"a.b.c", 40144},
		"JWT of empty objects": {"e30.e30.", 40144},
	} {
		if id, err := k.Authenticate(Credentials{Token: c.token}); err == nil || err.Code != c.code || err.StatusCode != 401 {
			t.Errorf("%s: %+v, %v, want %d", name, id, err, c.code)
		}
	}
}

// sign makes a JWT. Claims are added to an iat of now and an exp in an hour; nil takes one away.
func sign(t testing.TB, kid, secret string, claims jwt.MapClaims) string {
	return signWith(t, jwt.SigningMethodHS256, map[string]any{"kid": kid}, secret, claims)
}

func signWith(t testing.TB, method jwt.SigningMethod, header map[string]any, secret string, claims jwt.MapClaims) string {
	t.Helper()
	all := jwt.MapClaims{"iat": time.Now().Unix(), "exp": time.Now().Unix() + 3600}
	for k, v := range claims {
		if v == nil || v == "" {
			delete(all, k)
		} else {
			all[k] = v
		}
	}
	token := jwt.NewWithClaims(method, all)
	for k, v := range header {
		token.Header[k] = v
	}
	var with any = []byte(secret)
	if method == jwt.SigningMethodNone {
		with = jwt.UnsafeAllowNoneSignatureType
	}
	text, err := token.SignedString(with)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestJWT(t *testing.T) {
	k := tokenKeys(t)
	now := time.Now().Unix()
	kid := map[string]any{"kid": "demo.root"}
	ours := issue(t, k, "demo.root", "clientId", "alice", "ttl", "60000").Token
	for _, c := range []struct {
		name   string
		token  string
		code   int
		status int
		want   string // the capability
	}{
		{"plain", sign(t, "demo.root", "secret", nil), 0, 0, `{"*":["*"]}`},
		{"with a capability", sign(t, "demo.two", "secret", jwt.MapClaims{"x-ably-capability": `{"*":["publish"]}`}), 0, 0, `{"b":["publish"]}`},
		{"nothing in common", sign(t, "demo.two", "secret", jwt.MapClaims{"x-ably-capability": `{"c":["publish"]}`}), 0, 0, `{}`},
		{"fractions of seconds", sign(t, "demo.root", "secret", jwt.MapClaims{"exp": float64(now) + 3600.5}), 0, 0, `{"*":["*"]}`},
		{"wrong signature", sign(t, "demo.root", "wrong", nil), 40144, 401, ""},
		{"unknown app", sign(t, "nope.root", "secret", nil), 40400, 404, ""},
		{"unknown key", sign(t, "demo.nope", "secret", nil), 40400, 404, ""},
		{"no kid", signWith(t, jwt.SigningMethodHS256, nil, "secret", nil), 40144, 401, ""},
		{"kid is no name", sign(t, "demo", "secret", nil), 40144, 401, ""},
		{"HS512", signWith(t, jwt.SigningMethodHS512, kid, "secret", nil), 40144, 401, ""},
		{"none", signWith(t, jwt.SigningMethodNone, kid, "", nil), 40144, 401, ""},
		{"no exp", sign(t, "demo.root", "secret", jwt.MapClaims{"exp": nil}), 40144, 401, ""},
		{"no iat", sign(t, "demo.root", "secret", jwt.MapClaims{"iat": nil}), 40144, 401, ""},
		{"exp as text", sign(t, "demo.root", "secret", jwt.MapClaims{"exp": "soon"}), 40144, 401, ""},
		{"of the future", sign(t, "demo.root", "secret", jwt.MapClaims{"iat": now + 3000}), 40144, 401, ""},
		{"expired", sign(t, "demo.root", "secret", jwt.MapClaims{"exp": now - 1}), 40142, 401, ""},
		{"capability as an object", sign(t, "demo.root", "secret", jwt.MapClaims{"x-ably-capability": map[string]any{}}), 40144, 401, ""},
		{"bad capability", sign(t, "demo.root", "secret", jwt.MapClaims{"x-ably-capability": `{"a":["fly"]}`}), 40144, 401, ""},
		{"client id as a number", sign(t, "demo.root", "secret", jwt.MapClaims{"x-ably-clientId": 5}), 40144, 401, ""},
		{"carries a token", signWith(t, jwt.SigningMethodHS256, nil, "whatever", jwt.MapClaims{"x-ably-token": ours, "exp": now + 30}), 0, 0, `{"*":["*"]}`},
		{"carries a token in its header", signWith(t, jwt.SigningMethodHS256, map[string]any{"x-ably-token": ours}, "whatever", jwt.MapClaims{"exp": now + 30}), 0, 0, `{"*":["*"]}`},
		{"carries a JWT", signWith(t, jwt.SigningMethodHS256, nil, "whatever", jwt.MapClaims{"x-ably-token": sign(t, "demo.root", "secret", nil), "exp": now + 30}), 0, 0, `{"*":["*"]}`},
		{"ends later than what it carries", signWith(t, jwt.SigningMethodHS256, nil, "whatever", jwt.MapClaims{"x-ably-token": ours, "exp": now + 90}), 40144, 401, ""},
		{"expired around a good token", signWith(t, jwt.SigningMethodHS256, nil, "whatever", jwt.MapClaims{"x-ably-token": ours, "exp": now - 1}), 40142, 401, ""},
		{"carries a bad token", signWith(t, jwt.SigningMethodHS256, nil, "whatever", jwt.MapClaims{"x-ably-token": "demo.###"}), 40145, 401, ""},
		{"three deep", signWith(t, jwt.SigningMethodHS256, nil, "x", jwt.MapClaims{"x-ably-token": signWith(t, jwt.SigningMethodHS256, nil, "x", jwt.MapClaims{"x-ably-token": ours})}), 40144, 401, ""},
	} {
		id, err := k.Authenticate(Credentials{Token: c.token})
		switch {
		case c.code == 0 && (err != nil || id.Capability.String() != c.want):
			t.Errorf("%s: %s, %v; want %s", c.name, id.Capability, err, c.want)
		case c.code != 0 && (err == nil || err.Code != c.code || err.StatusCode != c.status):
			t.Errorf("%s: %v, want %d/%d", c.name, err, c.code, c.status)
		case c.code == 40144 && !strings.Contains(err.Message, "invalid JWT format"):
			t.Errorf("%s: says %q", c.name, err.Message)
		}
	}
}

func TestRevocation(t *testing.T) {
	k := tokenKeys(t)
	now := time.Now().UnixMilli()
	alice := issue(t, k, "demo.revocable", "clientId", "alice").Token
	room := issue(t, k, "demo.revocable", "clientId", "bob", "capability", `{"room:1":["*"]}`).Token
	group := sign(t, "demo.revocable", "secret3", jwt.MapClaims{"x-ably-revocation-key": "group"})
	tokens := map[string]string{"alice": alice, "room": room, "group": group}
	for _, c := range []struct {
		target string
		hits   string
	}{
		{"clientId:alice", "alice"}, {"clientId:carol", ""}, {"channel:room:1", "room"}, {"channel:room:2", ""},
		{"channel:*", "alice group"}, // their capability names "*"
		{"revocationKey:group", "group"},
	} {
		k.ReplaceRevocations([]Revocation{{KeyName: "demo.revocable", Target: c.target, IssuedBeforeMs: now + 1000, AppliesAtMs: now}})
		for name, token := range tokens {
			_, err := k.Authenticate(Credentials{Token: token})
			if hit := strings.Contains(c.hits, name); hit != (err != nil) || hit && err.Code != 40141 {
				t.Errorf("%s with %s revoked: %v", name, c.target, err)
			}
		}
	}
	revoke := func(r Revocation) {
		r.Target = "clientId:alice"
		k.ReplaceRevocations([]Revocation{r})
	}
	for name, r := range map[string]Revocation{
		"before it was issued": {KeyName: "demo.revocable", IssuedBeforeMs: now - 1000, AppliesAtMs: now},
		"of another key":       {KeyName: "demo.root", IssuedBeforeMs: now + 1000, AppliesAtMs: now},
		"later":                {KeyName: "demo.revocable", IssuedBeforeMs: now + 1000, AppliesAtMs: now + 30000},
	} {
		revoke(r)
		id, err := k.Authenticate(Credentials{Token: alice})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		at, revoked := k.Ends(&id)
		if late := name == "later"; revoked != late || late != (at.UnixMilli() == now+30000) {
			t.Errorf("%s: ends at %v, revoked %v", name, at, revoked)
		}
	}
}

func FuzzToken(f *testing.F) {
	k := tokenKeys(f)
	good := issue(f, k, "demo.two", "capability", `{"b":["*"]}`).Token
	for _, s := range []string{good, good[:20], "demo.AQ", sign(f, "demo.root", "secret", nil), "e30.e30.", "..", "demo.root:secret"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := k.Authenticate(Credentials{Token: s}); (err == nil) != (id.Token != nil) {
			t.Fatalf("%+v, %v", id, err)
		}
	})
}

func FuzzSealedToken(f *testing.F) {
	f.Add([]byte("\x02\x02\x00\x00\x00"))
	f.Add([]byte("\x02\x02\x01a\x01b\x02\x01x\x03"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var token Token
		if token.read(b) && !token.Whole && len(token.Capability.rules) > len(b) {
			t.Fatal("resources from nowhere")
		}
	})
}
