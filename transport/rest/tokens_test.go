package rest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"innkeeper/transport/auth"
)

// fakeAuthority agrees with itself.
type fakeAuthority struct {
	nonces  map[string]time.Time
	revoked []auth.Revocation
	apps    map[string]*auth.App
	keys    *auth.Keys
	err     error
}

func (a *fakeAuthority) ClaimNonce(_ context.Context, keyName, nonce string, until time.Time) (bool, error) {
	if a.err != nil {
		return false, a.err
	}
	at := keyName + " " + nonce
	if a.nonces[at].After(time.Now()) {
		return false, nil
	}
	a.nonces[at] = until
	return true, nil
}

func (a *fakeAuthority) Revoke(_ context.Context, list []auth.Revocation) error {
	a.revoked = append(a.revoked, list...)
	a.keys.ReplaceRevocations(a.revoked)
	return a.err
}

func (a *fakeAuthority) CreateApp(_ context.Context, app *auth.App) error {
	keys, err := app.AuthKeys()
	if err == nil && a.err == nil {
		a.apps[app.ID] = app
		a.keys.Replace(append(keys, ourKeys...))
	}
	return errors.Join(err, a.err)
}

func (a *fakeAuthority) DeleteApp(_ context.Context, id string) error {
	if a.apps[id] == nil {
		return ErrNotProvisioned
	}
	delete(a.apps, id)
	a.keys.Replace(ourKeys)
	return nil
}

var ourKeys = []auth.Key{
	{App: "demo", ID: "root", Secret: "secret", Capability: auth.AllowAll()},
	{App: "demo", ID: "rev", Secret: "secret", Capability: auth.AllowAll(), Revocable: true},
}

func setupTokens() (*fakeAuthority, *Handler) {
	a := &fakeAuthority{nonces: map[string]time.Time{}, apps: map[string]*auth.App{}, keys: auth.NewKeys(ourKeys)}
	return a, New(Config{Backend: &fakeBackend{}, Keys: a.keys, Authority: a, Apps: true, ServerID: "n1"})
}

// tokenRequest is a signed request as JSON.
func tokenRequest(change func(r *auth.TokenRequest)) string {
	r := auth.TokenRequest{KeyName: "demo.root", Timestamp: fmt.Sprint(time.Now().UnixMilli()), Nonce: "0123456789abcdef"}
	if change != nil {
		change(&r)
	}
	r.Sign("secret")
	text, _ := json.Marshal(map[string]any{
		"keyName": r.KeyName, "ttl": r.TTL, "capability": r.Capability, "clientId": r.ClientID,
		"timestamp": r.Timestamp, "nonce": r.Nonce, "mac": r.MAC,
	})
	return string(text)
}

const requestToken = "/keys/demo.root/requestToken"

func TestRequestToken(t *testing.T) {
	a, h := setupTokens()
	w := do(h, "POST", requestToken, tokenRequest(func(r *auth.TokenRequest) { r.ClientID, r.TTL = "alice", "60000" }), noAuth)
	var d auth.TokenDetails
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || w.Code != 201 {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	if d.Expires-d.Issued != 60000 || d.ClientID != "alice" || d.Capability != `{"[*]*":["*"]}` || d.KeyName != "demo.root" {
		t.Errorf("%+v", d)
	}
	for name, header := range map[string]string{
		"base64": base64.StdEncoding.EncodeToString([]byte(d.Token)), "as it is": d.Token,
	} {
		if w := do(h, "GET", "/channels/x", "", "Authorization: Bearer "+header); w.Code != 200 {
			t.Errorf("token %s: %d %s", name, w.Code, w.Body)
		}
	}
	for _, param := range []string{"access_token", "accessToken"} {
		if w := do(h, "GET", "/channels/x?"+param+"="+d.Token, "", noAuth); w.Code != 200 {
			t.Errorf("token in %s: %d %s", param, w.Code, w.Body)
		}
	}
	w = do(h, "GET", "/channels/x", "", "Authorization: Bearer "+d.Token, "X-Ably-ClientId: "+base64.StdEncoding.EncodeToString([]byte("bob")))
	wantError(t, "as somebody else", w, 401, 40102, "bob")

	// The same in msgpack, with numbers as such.
	now := time.Now().UnixMilli()
	r := auth.TokenRequest{KeyName: "demo.root", TTL: "3600000", Capability: `{"*":["*"]}`, Timestamp: fmt.Sprint(now), Nonce: "another-nonce-0123"}
	r.Sign("secret")
	body, _ := msgpack.Marshal(map[string]any{
		"keyName": r.KeyName, "ttl": int64(3600000), "capability": r.Capability, "timestamp": now, "nonce": r.Nonce, "mac": r.MAC,
	})
	w = do(h, "POST", requestToken, string(body), noAuth, "Content-Type: application/x-msgpack", "Accept: application/x-msgpack")
	var packed map[string]any
	if err := msgpack.Unmarshal(w.Body.Bytes(), &packed); err != nil || w.Code != 201 || packed["capability"] != `{"*":["*"]}` {
		t.Errorf("msgpack: %d %v %v", w.Code, packed, err)
	}
	if len(a.nonces) != 2 {
		t.Errorf("%d nonces are kept, want 2", len(a.nonces))
	}
}

func TestRequestTokenRefusals(t *testing.T) {
	for _, c := range []struct {
		what, path, body string
		headers          []string
		status, code     int
	}{
		{"unsigned, nobody", requestToken, `{}`, []string{noAuth}, 401, 40101},
		{"unsigned, another key", "/keys/demo.rev/requestToken", `{}`, nil, 401, 40101},
		{"unknown key", "/keys/demo.nope/requestToken", tokenRequest(nil), []string{noAuth}, 404, 40400},
		{"bad mac", requestToken, `{"mac":"x","keyName":"demo.root"}`, []string{noAuth}, 401, 40101},
		{"old", requestToken, tokenRequest(func(r *auth.TokenRequest) { r.Timestamp = "1700000000000" }), []string{noAuth}, 401, 40104},
		{"short nonce", requestToken, tokenRequest(func(r *auth.TokenRequest) { r.Nonce = "short" }), []string{noAuth}, 400, 40003},
		{"ttl", requestToken, `{"ttl":-1}`, nil, 400, 40003},
		{"ttl no number", requestToken, `{"ttl":"x"}`, nil, 400, 40003},
		{"capability", requestToken, `{"capability":"{\"a\":[\"fly\"]}"}`, nil, 400, 40003},
		{"capability as an object", requestToken, `{"capability":{"a":["*"]}}`, nil, 400, 40003},
		{"no object", requestToken, `[]`, nil, 400, 40001},
		{"not JSON", requestToken, `{`, nil, 400, 40001},
		{"wrong key", requestToken, `{}`, []string{"Authorization: " + basic("demo.root:wrong")}, 401, 40101},
		{"something else of a key", "/keys/demo.root/else", `{}`, nil, 404, 40400},
		{"a key alone", "/keys/demo.root", `{}`, nil, 404, 40400},
	} {
		_, h := setupTokens()
		wantError(t, c.what, do(h, "POST", c.path, c.body, c.headers...), c.status, c.code, "")
	}
	_, h := setupTokens()
	wantError(t, "GET", do(h, "GET", "/keys/ablyjs.test/requestToken", ""), 404, 40400, "")
	a, h := setupTokens()
	a.err = errors.New("no leader")
	wantError(t, "no cluster", do(h, "POST", requestToken, tokenRequest(nil), noAuth), 500, 50000, "")
}

func TestNonceCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h := setupTokens()
		signed := tokenRequest(nil)
		if w := do(h, "POST", requestToken, signed, noAuth); w.Code != 201 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		wantError(t, "again", do(h, "POST", requestToken, signed, noAuth), 401, 40105, "nonce")
		time.Sleep(auth.TimestampWindow)
		wantError(t, "at the end of the window", do(h, "POST", requestToken, signed, noAuth), 401, 40105, "nonce")
		time.Sleep(time.Millisecond)
		wantError(t, "after it", do(h, "POST", requestToken, signed, noAuth), 401, 40104, "")
	})
}

const revokeTokens = "/keys/demo.rev/revokeTokens"

func TestRevokeTokens(t *testing.T) {
	revKey := "Authorization: " + basic("demo.rev:secret")
	now := time.Now().UnixMilli()
	a, h := setupTokens()
	w := do(h, "POST", revokeTokens, `{"targets":["clientId:alice","nonsense:x","channel:a:b"]}`, revKey, "X-Ably-Version: 3")
	var got struct {
		SuccessCount, FailureCount int
		Results                    []revocationResult
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 201 {
		t.Fatalf("%d %s %v", w.Code, w.Body, err)
	}
	if got.SuccessCount != 2 || got.FailureCount != 1 || len(got.Results) != 3 || got.Results[1].Error == nil ||
		got.Results[1].Error.Code != 40000 || got.Results[1].Error.StatusCode != 400 || got.Results[0].IssuedBefore < now ||
		got.Results[0].AppliesAt < now || got.Results[2].Target != "channel:a:b" {
		t.Errorf("%+v", got)
	}
	if len(a.revoked) != 2 || a.revoked[0].KeyName != "demo.rev" || a.revoked[0].Target != "clientId:alice" {
		t.Errorf("revoked %+v", a.revoked)
	}
	w = do(h, "POST", revokeTokens, fmt.Sprintf(`{"targets":["clientId:alice"],"issuedBefore":%d,"allowReauthMargin":true}`, now-1000), revKey)
	var list []revocationResult
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || len(list) != 1 || list[0].IssuedBefore != now-1000 || list[0].AppliesAt < now+30_000 {
		t.Errorf("without a version: %s %v", w.Body, err)
	}
	for _, c := range []struct {
		what, path, body, header string
		status, code             int
	}{
		{"nobody", revokeTokens, `{"targets":["clientId:a"]}`, noAuth, 401, 40101},
		{"another key", revokeTokens, `{"targets":["clientId:a"]}`, "Authorization: " + basic("demo.root:secret"), 401, 40133},
		{"key that has no revocable tokens", "/keys/demo.root/revokeTokens", `{"targets":["clientId:a"]}`, "Authorization: " + basic("demo.root:secret"), 401, 40163},
		{"nothing", revokeTokens, `{}`, revKey, 400, 40003},
		{"no targets", revokeTokens, `{"targets":[]}`, revKey, 400, 40003},
		{"too many", revokeTokens, `{"targets":["clientId:a"` + strings.Repeat(`,"clientId:a"`, 100) + `]}`, revKey, 400, 40003},
		{"of the future", revokeTokens, fmt.Sprintf(`{"targets":["clientId:a"],"issuedBefore":%d}`, now+60_000), revKey, 400, 40003},
		{"long ago", revokeTokens, fmt.Sprintf(`{"targets":["clientId:a"],"issuedBefore":%d}`, now-3_700_000), revKey, 400, 40003},
		{"not JSON", revokeTokens, `{`, revKey, 400, 40001},
		{"types", revokeTokens, `{"targets":"clientId:a"}`, revKey, 400, 40001},
	} {
		_, h := setupTokens()
		wantError(t, c.what, do(h, "POST", c.path, c.body, c.header), c.status, c.code, "")
	}
	a, h = setupTokens()
	self, _ := a.keys.Authenticate(auth.Credentials{Key: "demo.rev:secret"})
	d, err := a.keys.Issue("demo.rev", &auth.TokenRequest{ClientID: "alice"}, &self, time.Now().Add(-time.Second))
	if err != nil {
		t.Fatal(err)
	}
	bearer := "Authorization: Bearer " + d.Token
	wantError(t, "with a token", do(h, "POST", revokeTokens, `{"targets":["clientId:a"]}`, bearer), 401, 40162, "")
	if w := do(h, "GET", "/channels/x", "", bearer); w.Code != 200 {
		t.Errorf("before: %d %s", w.Code, w.Body)
	}
	do(h, "POST", revokeTokens, `{"targets":["clientId:alice"]}`, revKey)
	wantError(t, "after", do(h, "GET", "/channels/x", "", bearer), 401, 40141, "revoked")
}

func TestExpiredTokenOverREST(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h := setupTokens()
		var d auth.TokenDetails
		json.Unmarshal(do(h, "POST", requestToken, `{"ttl":100}`).Body.Bytes(), &d)
		if w := do(h, "GET", "/channels/x", "", "Authorization: Bearer "+d.Token); w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		time.Sleep(100 * time.Millisecond)
		wantError(t, "expired", do(h, "GET", "/channels/x", "", "Authorization: Bearer "+d.Token), 401, 40140, "expired")
	})
}

func TestApps(t *testing.T) {
	a, h := setupTokens()
	const setup = `{"limits":{"presence":{"maxMembers":250}},"keys":[{},{"capability":"{ \"b\":[\"publish\",\"history\"] }"},
		{"capability":{"c":["subscribe"]}},{"revocableTokens":true}],
		"namespaces":[{"id":"persisted","persisted":true},{"id":"pushenabled","pushEnabled":true},{"id":"mutable","mutableMessages":true}],
		"channels":[{"name":"persisted:presence_fixtures","presence":[{"clientId":"client_bool","data":"true"}]}]}`
	w := do(h, "POST", "http://localhost:8080/apps", setup, noAuth, "Content-Type: application/json")
	var app struct {
		AppID, AccountID, ID string
		Status               int
		Keys                 []struct {
			ID, Value, Capability, KeyName, KeySecret, KeyStr string
			RevocableTokens                                   bool
		}
		Namespaces  []map[string]any
		Channels    []map[string]any
		Connections []any
		Endpoint    string
		Port        int
		TLS         *bool
		TLSOnly     *bool
	}
	if err := json.Unmarshal(w.Body.Bytes(), &app); err != nil || w.Code != 201 {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	if app.AppID == "" || app.ID != app.AppID || app.AccountID == "" || app.Status != 1 || len(app.Keys) != 4 || len(app.Namespaces) != 3 ||
		len(app.Channels) != 1 || app.Connections == nil || app.Endpoint != "localhost" || app.Port != 8080 || app.TLS == nil || app.TLSOnly == nil {
		t.Errorf("%s", w.Body)
	}
	var capabilities []string
	for _, k := range app.Keys {
		capabilities = append(capabilities, k.Capability)
		if k.KeyName != app.AppID+"."+k.ID || k.KeyStr != k.KeyName+":"+k.KeySecret || k.Value != k.KeySecret || strings.ContainsAny(k.KeySecret, ":. ") {
			t.Errorf("key %+v", k)
		}
	}
	if !slices.Equal(capabilities, []string{`{"*":["*"]}`, `{ "b":["publish","history"] }`, `{"c":["subscribe"]}`, `{"*":["*"]}`}) || !app.Keys[3].RevocableTokens {
		t.Errorf("capabilities %q", capabilities)
	}
	if app.Namespaces[0]["id"] != "persisted" || app.Namespaces[0]["persisted"] != true || app.Namespaces[2]["mutableMessages"] != true {
		t.Errorf("namespaces %v", app.Namespaces)
	}
	with := func(key string) string { return "Authorization: " + basic(key) }
	if w := do(h, "GET", "/channels/x", "", with(app.Keys[0].KeyStr)); w.Code != 200 {
		t.Errorf("the first key: %d %s", w.Code, w.Body)
	}
	wantError(t, "another app's key", do(h, "DELETE", "/apps/"+app.AppID, ""), 401, 40133, "")
	wantError(t, "a key that may not", do(h, "DELETE", "/apps/"+app.AppID, "", with(app.Keys[1].KeyStr)), 401, 40160, "")
	wantError(t, "nobody", do(h, "DELETE", "/apps/"+app.AppID, "", noAuth), 401, 40101, "")
	wantError(t, "an app of the configuration", do(h, "DELETE", "/apps/demo", ""), 403, 40300, "configuration")
	if w := do(h, "DELETE", "/apps/"+app.AppID, "", with(app.Keys[0].KeyStr)); w.Code != 204 || w.Body.Len() != 0 || len(a.apps) != 0 {
		t.Errorf("delete: %d %s", w.Code, w.Body)
	}
	wantError(t, "afterwards", do(h, "GET", "/channels/x", "", with(app.Keys[0].KeyStr)), 401, 40101, "")

	if w := do(h, "POST", "/apps", "", noAuth); w.Code != 201 {
		t.Errorf("nothing asked for: %d %s", w.Code, w.Body)
	}
	for body, code := range map[string]int{
		`[]`: 40001, `{"keys":[{"capability":"{"}]}`: 40003, `{"keys":[{"capability":{"a":["fly"]}}]}`: 40003,
		`{"namespaces":[{"id":"a:b"}]}`: 40003, `{"namespaces":[{}]}`: 40003, `{"namespaces":[{"id":"a","occupiedBy":"ghosts"}]}`: 40003,
		`{"namespaces":[{"id":"a","vacatedDelay":-1}]}`: 40003, `{"keys":[` + strings.Repeat(`{},`, 100) + `{}]}`: 40000,
	} {
		wantError(t, body, do(h, "POST", "/apps", body, noAuth), 400, code, "")
	}
	wantError(t, "GET", do(h, "GET", "/apps", ""), 404, 40400, "")
	off := New(Config{Backend: &fakeBackend{}, Keys: a.keys, Authority: a, ServerID: "n1"})
	wantError(t, "not enabled", do(off, "POST", "/apps", ""), 404, 40400, "")
	wantError(t, "not enabled", do(off, "DELETE", "/apps/demo", ""), 404, 40400, "")
	none := New(Config{Backend: &fakeBackend{}, Keys: a.keys, Apps: true, ServerID: "n1"})
	wantError(t, "no authority", do(none, "POST", "/apps", ""), 404, 40400, "")
	wantError(t, "no authority", do(none, "POST", requestToken, "{}"), 404, 40400, "")
}
