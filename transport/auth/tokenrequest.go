package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"innkeeper/transport/protocol"
)

const (
	// TimestampWindow is how far the timestamp of a token request may be off, before and after.
	TimestampWindow = 2 * time.Minute
	nonceMin        = 16
	nonceMax        = 1024
)

// TokenRequest is a wish for a token, as its sender wrote it: numbers are the text that was signed.
type TokenRequest struct {
	KeyName, TTL, Capability, ClientID, Timestamp, Nonce, MAC string
}

// ParseTokenRequest reads a token request from JSON. Numbers may come as text. What has the wrong type is 40003, what is
// no object 40001.
func ParseTokenRequest(text []byte) (*TokenRequest, *protocol.ErrorInfo) {
	r := &TokenRequest{}
	if len(text) == 0 {
		return r, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, protocol.Errorf(protocol.CodeBadBody, "a token request has to be an object")
	}
	for name, to := range map[string]*string{
		"keyName": &r.KeyName, "capability": &r.Capability, "clientId": &r.ClientID, "nonce": &r.Nonce, "mac": &r.MAC,
		"ttl": &r.TTL, "timestamp": &r.Timestamp,
	} {
		v := string(fields[name])
		switch {
		case v == "" || v == "null":
		case v[0] == '"':
			json.Unmarshal(fields[name], to) // valid, since the whole is
		case (name == "ttl" || name == "timestamp") && (v[0] == '-' || v[0] >= '0' && v[0] <= '9'):
			*to = v
		default:
			return nil, protocol.Errorf(protocol.CodeBadParamValue, "%s of a token request has the wrong type", name)
		}
	}
	return r, nil
}

// Sign gives the request the MAC that proves knowledge of the key's secret.
func (r *TokenRequest) Sign(secret string) { r.MAC = r.mac(secret) }

func (r *TokenRequest) mac(secret string) string {
	h := hmac.New(sha256.New, []byte(secret))
	for _, s := range []string{r.KeyName, r.TTL, r.Capability, r.ClientID, r.Timestamp, r.Nonce} {
		h.Write([]byte(s))
		h.Write([]byte{'\n'})
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// TokenDetails is a token with what its holder may know of it. Times are unix ms.
type TokenDetails struct {
	Token      string `json:"token"`
	KeyName    string `json:"keyName"`
	Issued     int64  `json:"issued"`
	Expires    int64  `json:"expires"`
	Capability string `json:"capability"`
	ClientID   string `json:"clientId,omitempty"`
}

// Issue makes a token of the key keyName. The request is signed with that key, or by is who sent it with that very key.
// That a nonce comes once only is the caller's to see to, after this: a request that is refused uses up none.
//
// Refusals: 40400 for an unknown key, 40101 for a wrong or missing signature, 40131 and 40120 for a key that is shut, 40104
// for a clock that is off, 40003 for values that cannot be, 40012 for an impossible client id, 40160 when nothing of what is
// asked for is allowed.
func (k *Keys) Issue(keyName string, r *TokenRequest, by *Identity, now time.Time) (*TokenDetails, *protocol.ErrorInfo) {
	key, known := k.set.Load().keys[keyName]
	if !known {
		return nil, protocol.Errorf(protocol.CodeNotFound, "no key %.200q", keyName)
	}
	if err := r.proven(&key, by, now); err != nil {
		return nil, err
	}
	ttl, err := r.life(&key)
	if err != nil {
		return nil, err
	}
	if err := CheckClientID(r.ClientID); err != nil {
		return nil, err
	}
	t := &Token{
		KeyName: keyName, ClientID: r.ClientID, Whole: true,
		IssuedMs: now.UnixMilli(), ExpiresMs: now.UnixMilli() + ttl.Milliseconds(),
	}
	text := key.Text()
	if r.Capability != "" {
		asked, bad := ParseCapabilityJSON(r.Capability)
		if bad != nil {
			return nil, protocol.Errorf(protocol.CodeBadParamValue, "%v", bad)
		}
		if t.Capability = asked.Intersect(key.Capability); t.Capability.Empty() {
			return nil, protocol.Errorf(protocol.CodeNoCapability, "the key's capability allows nothing of what the token is to be capable of")
		}
		t.Whole, text = false, t.Capability.String()
	}
	return &TokenDetails{
		Token: t.text(&key), KeyName: keyName, Issued: t.IssuedMs, Expires: t.ExpiresMs, Capability: text, ClientID: t.ClientID,
	}, nil
}

// proven checks who asks, that the key is open, and that the request is a fresh one.
func (r *TokenRequest) proven(key *Key, by *Identity, now time.Time) *protocol.ErrorInfo {
	if r.KeyName != "" && r.KeyName != key.Name() {
		return protocol.Errorf(protocol.CodeUnauthorized, "the token request is for another key than its URL")
	}
	if r.MAC == "" {
		if by == nil || by.Token != nil || by.KeyName != key.Name() {
			return protocol.Errorf(protocol.CodeUnauthorized, "a token request without a mac has to come with the key itself")
		}
		return nil
	}
	if !secretEqual(strings.TrimRight(r.MAC, "="), strings.TrimRight(r.mac(key.Secret), "=")) {
		return protocol.Errorf(protocol.CodeUnauthorized, "the mac of the token request is not that of the key")
	}
	if err := key.refusal(); err != nil {
		return err
	}
	at, bad := strconv.ParseInt(r.Timestamp, 10, 64)
	if bad != nil {
		return protocol.Errorf(protocol.CodeBadParamValue, "timestamp of a token request has to be a number of milliseconds")
	}
	if off := now.UnixMilli() - at; off > TimestampWindow.Milliseconds() || off < -TimestampWindow.Milliseconds() {
		return protocol.Errorf(protocol.CodeClockSkew, "timestamp of the token request is not current: it is off by %d ms", off)
	}
	if len(r.Nonce) < nonceMin || len(r.Nonce) > nonceMax {
		return protocol.Errorf(protocol.CodeBadParamValue, "nonce of a token request has to be of %d to %d characters", nonceMin, nonceMax)
	}
	return nil
}

// life is how long the token is to live.
func (r *TokenRequest) life(key *Key) (time.Duration, *protocol.ErrorInfo) {
	longest := TTLMax
	if key.Revocable {
		longest = RevocableTTLMax
	}
	if r.TTL == "" {
		return min(TTLDefault, longest), nil
	}
	ms, bad := strconv.ParseInt(r.TTL, 10, 64)
	switch {
	case bad != nil:
		return 0, protocol.Errorf(protocol.CodeBadParamValue, "ttl has to be a number of milliseconds")
	case ms < 0 || ms > longest.Milliseconds():
		return 0, protocol.Errorf(protocol.CodeBadParamValue, "ttl has to be from 0 to %d ms for this key", longest.Milliseconds())
	case ms == 0:
		return min(TTLDefault, longest), nil
	}
	return time.Duration(ms) * time.Millisecond, nil
}
