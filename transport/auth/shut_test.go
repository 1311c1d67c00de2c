package auth

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"innkeeper/transport/protocol"
)

// Who proves to have a key that opens nothing any more is told why, with codes that ask for no fresh token. Who does not
// prove it hears what a guesser does.
func TestShutKeys(t *testing.T) {
	app := App{ID: "shop", Keys: []AppKey{{ID: "k", Secret: "secret", Capability: `{"*":["*"]}`}}}
	keys := NewKeys(nil)
	load := func() {
		t.Helper()
		own, err := app.AuthKeys()
		if err != nil {
			t.Fatal(err)
		}
		keys.Replace(own)
	}
	load()
	now := time.Now()
	signed := func() *TokenRequest {
		r := &TokenRequest{KeyName: "shop.k", Timestamp: request("shop.k").Timestamp, Nonce: "0123456789abcdef"}
		r.Sign("secret")
		return r
	}
	d, err := keys.Issue("shop.k", signed(), nil, now)
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iat": now.Unix(), "exp": now.Unix() + 60})
	claims.Header["kid"] = "shop.k"
	good, _ := claims.SignedString([]byte("secret"))
	bad, _ := claims.SignedString([]byte("wrong"))
	for _, c := range []struct {
		what              string
		revoked, disabled bool
		code              int
	}{
		{"open", false, false, 0},
		{"revoked", true, false, protocol.CodeKeyRevoked},
		{"of a disabled app", false, true, protocol.CodeAppDisabled},
		{"revoked, of a disabled app", true, true, protocol.CodeKeyRevoked},
		{"open again", false, false, 0},
	} {
		app.Keys[0].Revoked, app.Disabled = c.revoked, c.disabled
		load()
		is := func(what string, err *protocol.ErrorInfo, code int) {
			t.Helper()
			if code == 0 && err != nil || code != 0 && (err == nil || err.Code != code) {
				t.Errorf("%s, %s: %v, want %d", c.what, what, err, code)
			}
		}
		for what, offer := range map[string]Credentials{"the key": {Key: "shop.k:secret"}, "its token": {Token: d.Token}, "its JWT": {Token: good}} {
			_, err := keys.Authenticate(offer)
			is(what, err, c.code)
			_, err = keys.AuthenticateREST(offer)
			is(what+" over REST", err, c.code)
		}
		_, err := keys.AuthenticateREST(Credentials{Key: "shop.k:wrong"})
		is("a wrong secret", err, protocol.CodeUnauthorized)
		_, err = keys.Authenticate(Credentials{Token: d.Token[:len(d.Token)-4] + "AAAA"})
		is("a forged token", err, protocol.CodeTokenUnknown)
		_, err = keys.Authenticate(Credentials{Token: bad})
		is("a forged JWT", err, protocol.CodeBadJWT)
		_, err = keys.Issue("shop.k", signed(), nil, now)
		is("a token request", err, c.code)
		forged := signed()
		forged.MAC = "AAAA"
		_, err = keys.Issue("shop.k", forged, nil, now)
		is("a forged token request", err, protocol.CodeUnauthorized)
		is("a live connection", keys.Refusal("shop.k"), c.code)
		if got := len(keys.OfApp("shop")) == 1; got != (c.code == 0) {
			t.Errorf("%s: in OfApp: %v", c.what, got)
		}
		if key, known := keys.Lookup("shop", "k"); known != (c.code == 0) || known == key.Capability.Empty() || !keys.HasApp("shop") {
			t.Errorf("%s: %+v, %v", c.what, key, known)
		}
	}
	if err := keys.Refusal("shop.deleted"); err == nil || err.Code != protocol.CodeKeyRevoked {
		t.Errorf("a key that is gone: %v", err)
	}
}

// A key that was revoked in the log and stands in the configuration anew is open, whichever comes first.
func TestShutKeyDoesNotHideAnOpenOne(t *testing.T) {
	open, shut := Key{App: "a", ID: "k", Secret: "new"}, Key{App: "a", ID: "k", Secret: "old", Shut: KeyRevoked}
	for _, list := range [][]Key{{open, shut}, {shut, open}} {
		if key, ok := NewKeys(list).Lookup("a", "k"); !ok || key.Secret != "new" {
			t.Errorf("%+v, %v", key, ok)
		}
	}
}
