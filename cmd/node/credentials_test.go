package node

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"innkeeper/cmd/node/config"
	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"
)

// token asks the node for a token of a key.
func (r *running) token(key string, fields map[string]any) string {
	r.t.Helper()
	name, _, _ := strings.Cut(key, ":")
	res, b := request(r.t, http.MethodPost, "http://"+r.ClientAddr()+"/keys/"+name+"/requestToken", key, "application/json", jsonOf(r.t, fields))
	var d auth.TokenDetails
	if err := json.Unmarshal(b, &d); res.StatusCode != http.StatusCreated || err != nil {
		r.t.Fatalf("token of %s: %s %s %v", name, res.Status, b, err)
	}
	return d.Token
}

func signJWT(t *testing.T, kid, secret string, claims jwt.MapClaims) string {
	t.Helper()
	all := jwt.MapClaims{"iat": time.Now().Unix(), "exp": time.Now().Unix() + 600}
	for k, v := range claims {
		all[k] = v
	}
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, all)
	token.Header["kid"] = kid
	text, err := token.SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// answer is a code and a status; 0 is success.
type answer struct{ code, status int }

// overREST is what GET of a channel's details is answered to credentials given as query parameters, but for clientId, which
// goes as a header.
func (r *running) overREST(query url.Values, channel string) answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.ClientAddr()+"/channels/"+url.PathEscape(channel)+"?"+query.Encode(), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("X-Ably-ClientId", base64.StdEncoding.EncodeToString([]byte(query.Get("clientId"))))
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return restAnswer(r.t, res, b)
}

func restAnswer(t *testing.T, res *http.Response, b []byte) answer {
	t.Helper()
	if res.StatusCode < 300 {
		return answer{}
	}
	var body struct {
		Error struct{ Code, StatusCode int }
	}
	if err := json.Unmarshal(b, &body); err != nil || body.Error.StatusCode != res.StatusCode {
		t.Fatalf("%s %s", res.Status, b)
	}
	return answer{body.Error.Code, body.Error.StatusCode}
}

// overWebSocket is what a connect is answered.
func (r *running) overWebSocket(query url.Values) answer {
	r.t.Helper()
	c := dial(r.t, r.ClientAddr(), "v=5&format=json&"+query.Encode())
	defer c.raw.Close()
	switch pm := c.next(); {
	case pm.Action == protocol.ActionConnected:
		return answer{}
	case pm.Action == protocol.ActionError && !pm.HasChannel:
		return answer{pm.Error.Code, pm.Error.StatusCode}
	default:
		r.t.Fatalf("got %v %v", pm.Action, pm.Error)
		return answer{}
	}
}

// TestCredentialsAtAGlance offers every kind of credential over both ways in.
func TestCredentialsAtAGlance(t *testing.T) {
	cfg := settings(t.TempDir())
	cfg.Apps[0].Keys = append(cfg.Apps[0].Keys, config.Key{Key: "demo.rev:secret", Capability: map[string][]string{"*": {"*"}}, RevocableTokens: true})
	n := run(t, cfg).ready()
	alice := n.token(rootKey, map[string]any{"clientId": "alice"})
	revoked := n.token("demo.rev:secret", map[string]any{"clientId": "alice"})
	time.Sleep(5 * time.Millisecond) // tokens are older from the next millisecond on
	res, b := request(t, http.MethodPost, "http://"+n.ClientAddr()+"/keys/demo.rev/revokeTokens", "demo.rev:secret", "application/json", []byte(`{"targets":["clientId:alice"]}`))
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("revoke: %s %s", res.Status, b)
	}
	sealed, _ := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(alice, "demo."))
	forged := bytes.Clone(sealed)
	forged[len(forged)-1] ^= 1
	past := time.Now().Unix() - 10

	for _, c := range []struct {
		what      string
		query     url.Values
		rest      answer
		webSocket answer
	}{
		{"nothing", url.Values{}, answer{40101, 401}, answer{40101, 401}},
		{"key", url.Values{"key": {rootKey}}, answer{}, answer{}},
		{"key and a client", url.Values{"key": {rootKey}, "clientId": {"alice"}}, answer{}, answer{}},
		{"malformed key", url.Values{"key": {"nonsense"}}, answer{40005, 401}, answer{40005, 401}},
		{"unknown app", url.Values{"key": {"this.is:wrong"}}, answer{40101, 401}, answer{40101, 401}},
		{"unknown key", url.Values{"key": {"demo.nope:wrong"}}, answer{40400, 401}, answer{40101, 401}},
		{"wrong secret", url.Values{"key": {"demo.root:wrong"}}, answer{40101, 401}, answer{40101, 401}},
		{"token", url.Values{"access_token": {alice}}, answer{}, answer{}},
		{"token under its other name", url.Values{"accessToken": {alice}}, answer{}, answer{}},
		{"token as its client", url.Values{"access_token": {alice}, "clientId": {"alice"}}, answer{}, answer{}},
		{"token as another client", url.Values{"access_token": {alice}, "clientId": {"bob"}}, answer{40102, 401}, answer{40102, 401}},
		{"neither token nor JWT", url.Values{"access_token": {"nonsense"}}, answer{40005, 401}, answer{40005, 401}},
		{"malformed token", url.Values{"access_token": {"demo.!"}}, answer{40145, 401}, answer{40145, 401}},
		{"token of an unknown key", url.Values{"access_token": {"nope." + alice[5:]}}, answer{40143, 401}, answer{40143, 401}},
		{"forged token", url.Values{"access_token": {"demo." + base64.RawURLEncoding.EncodeToString(forged)}}, answer{40143, 401}, answer{40143, 401}},
		{"revoked token", url.Values{"access_token": {revoked}}, answer{40141, 401}, answer{40141, 401}},
		{"JWT", url.Values{"access_token": {signJWT(t, "demo.root", "secret", nil)}}, answer{}, answer{}},
		{"expired JWT", url.Values{"access_token": {signJWT(t, "demo.root", "secret", jwt.MapClaims{"exp": past})}}, answer{40140, 401}, answer{40142, 401}},
		{"JWT with a wrong signature", url.Values{"access_token": {signJWT(t, "demo.root", "wrong", nil)}}, answer{40144, 401}, answer{40144, 401}},
		{"JWT that is none", url.Values{"access_token": {"a.b.c"}}, answer{40144, 401}, answer{40144, 401}},
		{"JWT of an unknown app", url.Values{"access_token": {signJWT(t, "nope.nope", "x", nil)}}, answer{40400, 404}, answer{40400, 404}},
		{"client id too long", url.Values{"key": {rootKey}, "clientId": {strings.Repeat("x", 1025)}}, answer{40012, 400}, answer{40012, 400}},
	} {
		if got := n.overREST(c.query, "x"); got != c.rest {
			t.Errorf("%s over REST: %v, want %v", c.what, got, c.rest)
		}
		if got := n.overWebSocket(c.query); got != c.webSocket {
			t.Errorf("%s over WebSocket: %v, want %v", c.what, got, c.webSocket)
		}
	}
}

// TestCapabilitiesAtAGlance asks for operations under capabilities over both ways in.
func TestCapabilitiesAtAGlance(t *testing.T) {
	n := run(t, settings(t.TempDir())).ready()
	const denied = 40160
	for i, c := range []struct {
		capability, channel string
		attach, publish     int // codes; 0 for allowed
		details             int
	}{
		{`{"*":["*"]}`, "a", 0, 0, 0},
		{`{"*":["*"]}`, "a:b:c", 0, 0, 0},
		{`{"a":["subscribe"]}`, "a", 0, denied, denied},
		{`{"a":["subscribe"]}`, "b", denied, denied, denied},
		{`{"a":["publish"]}`, "a", 0, 0, denied},
		{`{"a":["channel-metadata"]}`, "a", denied, denied, 0},
		{`{"a":["history"]}`, "a", denied, denied, denied},
		{`{"a:*":["*"]}`, "a:b", 0, 0, 0},
		{`{"a:*":["*"]}`, "a:b:c", 0, 0, 0},
		{`{"a:*":["*"]}`, "a", denied, denied, denied},
		{`{"*:b":["*"]}`, "a:b", 0, 0, 0},
		{`{"*:b":["*"]}`, "a:b:c", denied, denied, denied},
		{`{"a*":["*"]}`, "ab", denied, denied, denied},
		{`{"a*":["*"]}`, "a*", 0, 0, 0},
		{`{"*":["subscribe"],"a":["publish"]}`, "a", 0, 0, denied},
		{`{"[*]*":["*"]}`, "a", 0, 0, 0},
		{`{"[meta]*":["*"]}`, "a", denied, denied, denied},
	} {
		what := fmt.Sprintf("%d: %s on %s", i, c.capability, c.channel)
		token := n.token(rootKey, map[string]any{"capability": c.capability})
		query := url.Values{"access_token": {token}}
		if got := n.overREST(query, c.channel).code; got != c.details {
			t.Errorf("%s: details %d, want %d", what, got, c.details)
		}
		at := "http://" + n.ClientAddr() + "/channels/" + url.PathEscape(c.channel) + "/messages?" + query.Encode()
		res, b := request(t, http.MethodPost, at, "", "application/json", []byte(`{"name":"x"}`))
		if got := restAnswer(t, res, b); got.code != c.publish || got.code != 0 && got.status != http.StatusUnauthorized {
			t.Errorf("%s: publish over REST %v, want %d", what, got, c.publish)
		}

		ws := dial(t, n.ClientAddr(), "v=5&format=json&"+query.Encode())
		ws.expect(protocol.ActionConnected)
		ws.send(protocol.AppendPublish(nil, ws.format, c.channel, 0, nil, message("x")))
		if pm := ws.next(); (pm.Action == protocol.ActionAck) != (c.publish == 0) || pm.Error != nil && (pm.Error.Code != c.publish || pm.Error.StatusCode != 401) {
			t.Errorf("%s: publish got %v %v, want %d", what, pm.Action, pm.Error, c.publish)
		}
		ws.send(protocol.AppendAttach(nil, ws.format, &protocol.Attach{Channel: c.channel}))
		if pm := ws.next(); (pm.Action == protocol.ActionAttached) != (c.attach == 0) || pm.Error != nil && (pm.Error.Code != c.attach || pm.Error.StatusCode != 401 || !pm.HasChannel) {
			t.Errorf("%s: attach got %v %v, want %d", what, pm.Action, pm.Error, c.attach)
		}
		ws.raw.Close()
	}
}
