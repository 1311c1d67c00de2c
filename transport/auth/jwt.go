package auth

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"innkeeper/transport/protocol"
)

const (
	claimCapability = "x-ably-capability"
	claimClientID   = "x-ably-clientId"
	claimRevocation = "x-ably-revocation-key"
	embeddedToken   = "x-ably-token" // JOSE header or claim

	// issuedLeeway is how far ahead the clock of an issuer may be.
	issuedLeeway = 2 * time.Minute
)

// badJWT is one error for everything that is wrong with a JWT, its signature included: clients expect one code and these
// words.
func badJWT(why string) *protocol.ErrorInfo {
	return protocol.Errorf(protocol.CodeBadJWT, "invalid JWT format: %s", why)
}

var jwts = jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithoutClaimsValidation(), jwt.WithJSONNumber())

// looksLikeJWT tells JWTs from tokens of ours, which have one dot.
func looksLikeJWT(text string) bool { return strings.Count(text, ".") == 2 }

// readJWT reads a JWT that a key signed, or one that carries a token: then the token inside counts, and what is around it
// is not verified but may end earlier. It does not look at the clock, except for a JWT of the future.
func (k *Keys) readJWT(text string, now time.Time, inner bool) (*Token, Key, *protocol.ErrorInfo) {
	claims := jwt.MapClaims{}
	outer, _, err := jwts.ParseUnverified(text, claims)
	if err != nil {
		return nil, Key{}, badJWT("it cannot be read")
	}
	carried, ok := outer.Header[embeddedToken].(string)
	if !ok {
		carried, ok = claims[embeddedToken].(string)
	}
	if ok {
		if inner {
			return nil, Key{}, badJWT("a token within a token within a token")
		}
		return k.readCarrier(carried, claims, now)
	}
	kid, _ := outer.Header["kid"].(string)
	app, id, ok := strings.Cut(kid, ".")
	if !ok || app == "" || id == "" {
		return nil, Key{}, badJWT("the header kid has to be the name of a key, appId.keyId")
	}
	key, known := k.find(app, id)
	if !known {
		return nil, Key{}, protocol.Errorf(protocol.CodeNotFound, "no application or key found for the kid %.100q of the JWT", kid)
	}
	claims = jwt.MapClaims{}
	if _, err := jwts.ParseWithClaims(text, claims, func(*jwt.Token) (any, error) { return []byte(key.Secret), nil }); err != nil {
		return nil, Key{}, badJWT("the signature is not that of the key (HS256)")
	}
	if err := key.refusal(); err != nil {
		return nil, Key{}, err
	}
	t, why := tokenOfClaims(claims, &key, now)
	if why != "" {
		return nil, Key{}, badJWT(why)
	}
	return t, key, nil
}

// readCarrier reads the token that a JWT carries.
func (k *Keys) readCarrier(carried string, claims jwt.MapClaims, now time.Time) (*Token, Key, *protocol.ErrorInfo) {
	t, key, err := k.readText(carried, now, true)
	if err != nil {
		return nil, Key{}, err
	}
	if _, there := claims["exp"]; !there {
		return t, key, nil
	}
	expires, ok := millis(claims["exp"])
	if !ok {
		return nil, Key{}, badJWT("the claim exp has to be a number of seconds")
	}
	if expires > t.ExpiresMs+999 { // exp has whole seconds, the token inside has not
		return nil, Key{}, badJWT("the claim exp is later than the end of the token inside")
	}
	t.ExpiresMs = min(t.ExpiresMs, expires)
	return t, key, nil
}

func tokenOfClaims(claims jwt.MapClaims, key *Key, now time.Time) (t *Token, why string) {
	t = &Token{KeyName: key.Name(), Whole: true}
	var ok bool
	if t.IssuedMs, ok = millis(claims["iat"]); !ok {
		return nil, "the claim iat is missing or no number of seconds"
	}
	if t.ExpiresMs, ok = millis(claims["exp"]); !ok {
		return nil, "the claim exp is missing or no number of seconds"
	}
	if t.IssuedMs > now.Add(issuedLeeway).UnixMilli() {
		return nil, "the claim iat is in the future"
	}
	for claim, to := range map[string]*string{claimClientID: &t.ClientID, claimRevocation: &t.RevocationKey} {
		if v, there := claims[claim]; there && v != nil {
			if *to, ok = v.(string); !ok {
				return nil, "the claim " + claim + " has to be a string"
			}
		}
	}
	if v, there := claims[claimCapability]; there && v != nil {
		text, ok := v.(string)
		if !ok {
			return nil, "the claim " + claimCapability + " has to be JSON as a string"
		}
		c, err := ParseCapabilityJSON(text)
		if err != nil {
			return nil, "the claim " + claimCapability + ": " + err.Error()
		}
		t.Capability, t.Whole = c, false
	}
	t.userClaims, why = readUserClaims(claims)
	return t, why
}

// millis reads a time of a claim, in seconds that may have a fraction.
func millis(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	f, err := n.Float64()
	const longest = 1 << 42 // seconds; in ms it still fits well
	if err != nil || f < 0 || f > longest {
		return 0, false
	}
	return int64(f * 1000), true
}
