package auth

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// Wildcard is the client id of a credential that may act as any client.
const Wildcard = "*"

// Identity is who a connection or a request is.
type Identity struct {
	App        string
	KeyName    string // appId.keyId
	ClientID   string // a concrete client, Wildcard, or "" for an unidentified one
	Capability Capability
	Token      *Token // nil for an API key
}

// Credentials is what a client offered, as text.
type Credentials struct {
	Key      string // appId.keyId:secret
	Token    string
	ClientID string // identity asked for; "" for none
}

const clientIDBytesMax = 1024

// FromUpgrade collects the credentials of a WebSocket upgrade: those of FromRequest, where the identity asked for may be
// the parameter clientId instead.
func FromUpgrade(r *http.Request, query url.Values) (Credentials, *protocol.ErrorInfo) {
	c, err := FromRequest(r, query)
	if err == nil && c.ClientID == "" {
		c.ClientID = query.Get("clientId")
	}
	return c, err
}

// FromRequest collects the credentials of a REST request: the query parameters key, access_token and accessToken, the
// header Authorization (Basic, Bearer), and the header X-Ably-ClientId. Headers win over parameters. A parameter clientId
// is what the request is about, as in a question for members, not who sends it. What cannot be read is an error (40005,
// 40012), nothing offered is not.
func FromRequest(r *http.Request, query url.Values) (Credentials, *protocol.ErrorInfo) {
	c := Credentials{Key: query.Get("key"), Token: query.Get("access_token")}
	if c.Token == "" {
		c.Token = query.Get("accessToken")
	}
	if h := r.Header.Get("Authorization"); h != "" {
		if err := c.authorization(h); err != nil {
			return Credentials{}, err
		}
	}
	if h := r.Header.Get("X-Ably-ClientId"); h != "" {
		id, ok := decodeBase64(h)
		if !ok {
			return Credentials{}, protocol.Errorf(protocol.CodeBadClientID, "header X-Ably-ClientId is not base64")
		}
		c.ClientID = id
	}
	return c, nil
}

func (c *Credentials) authorization(h string) *protocol.ErrorInfo {
	scheme, value, _ := strings.Cut(strings.TrimSpace(h), " ")
	value = strings.TrimSpace(value)
	switch strings.ToLower(scheme) {
	case "basic":
		key, ok := decodeBase64(value)
		if !ok {
			return protocol.Errorf(protocol.CodeBadCredential, "header Authorization: the Basic credential is not base64").WithStatus(401)
		}
		c.Key, c.Token = key, ""
	case "bearer":
		// SDKs send base64 of the token, people send the token. A key is taken here as well, for clients that know
		// only this scheme.
		text := value
		if plain, ok := decodeBase64(value); ok && utf8.ValidString(plain) {
			text = plain
		}
		if looksLikeKey(text) {
			c.Key, c.Token = text, ""
		} else {
			c.Key, c.Token = "", text
		}
	default:
		return protocol.Errorf(protocol.CodeBadCredential, "header Authorization: the scheme has to be Basic or Bearer").WithStatus(401)
	}
	return nil
}

func looksLikeKey(s string) bool {
	_, _, _, err := ParseKey(s)
	return err == nil && strings.Count(s, ":") == 1
}

func decodeBase64(s string) (string, bool) {
	s = strings.TrimRight(s, "=")
	if b, err := base64.RawStdEncoding.DecodeString(s); err == nil {
		return string(b), true
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	return string(b), err == nil
}

// Authenticate says who offers these credentials, as of now.
//
// Failures that a fresh token can cure are 40141 (revoked), 40142 (expired), 40143 (unknown), 40144 (bad JWT) and 40145
// (bad token). The others keep outside 40140–40149: 40101 for missing or wrong ones, 40005 for text that is neither key
// nor token, 40012 for an impossible clientId, 40102 for one that the token does not allow, 40400 for a JWT of an unknown
// key, 40131 for a revoked key and 40120 for one of a disabled app, and for tokens of such keys.
func (k *Keys) Authenticate(c Credentials) (Identity, *protocol.ErrorInfo) {
	if err := CheckClientID(c.ClientID); err != nil {
		return Identity{}, err
	}
	switch {
	case c.Token != "":
		return k.authenticateToken(c, time.Now())
	case c.Key == "":
		return Identity{}, protocol.Errorf(protocol.CodeUnauthorized, "no credentials: give an API key or a token")
	}
	app, id, secret, err := ParseKey(c.Key)
	if err != nil {
		return Identity{}, protocol.Errorf(protocol.CodeBadCredential, "%s", err).WithStatus(401)
	}
	key, known := k.find(app, id)
	if !secretEqual(secret, key.Secret) || !known {
		// One text for an unknown app, an unknown key and a wrong secret: it tells a guesser nothing.
		return Identity{}, protocol.Errorf(protocol.CodeUnauthorized, "invalid credentials: unknown key or wrong secret")
	}
	if err := key.refusal(); err != nil {
		return Identity{}, err
	}
	client := c.ClientID
	if client == "" {
		client = Wildcard
	}
	return Identity{App: key.App, KeyName: key.Name(), ClientID: client, Capability: key.Capability}, nil
}

// authenticateToken says who holds a token. What it may do is what both the token and its key, as it is now, allow.
func (k *Keys) authenticateToken(c Credentials, now time.Time) (Identity, *protocol.ErrorInfo) {
	t, key, err := k.readText(c.Token, now, false)
	if err != nil {
		return Identity{}, err
	}
	if key.Revocable { // revocations are kept for that long and no longer
		t.ExpiresMs = min(t.ExpiresMs, t.IssuedMs+RevocableTTLMax.Milliseconds())
	}
	if now.UnixMilli() >= t.ExpiresMs {
		return Identity{}, protocol.NewError(protocol.CodeTokenExpired)
	}
	id := Identity{App: key.App, KeyName: t.KeyName, ClientID: t.ClientID, Capability: key.Capability, Token: t}
	if !t.Whole {
		id.Capability = t.Capability.Intersect(key.Capability)
	}
	if r, found := k.Revoked(&id); found && r.AppliesAtMs <= now.UnixMilli() {
		return Identity{}, protocol.NewError(protocol.CodeTokenRevoked)
	}
	if err := CheckClientID(t.ClientID); err != nil {
		return Identity{}, err
	}
	switch {
	case c.ClientID == "" || c.ClientID == t.ClientID:
	case t.ClientID == Wildcard:
		id.ClientID = c.ClientID
	default:
		return Identity{}, protocol.Errorf(protocol.CodeIdentityMismatch, "clientId %.100q is not that of the token", c.ClientID)
	}
	return id, nil
}

// readText reads a token of either form. inner says that it was carried by another.
func (k *Keys) readText(text string, now time.Time, inner bool) (*Token, Key, *protocol.ErrorInfo) {
	switch {
	case looksLikeJWT(text):
		return k.readJWT(text, now, inner)
	case strings.Contains(text, "."):
		return k.readToken(text)
	}
	return nil, Key{}, protocol.Errorf(protocol.CodeBadCredential, "the text is neither a token nor a JWT").WithStatus(401)
}

// AuthenticateREST is Authenticate with the two differences that REST clients expect: an unknown key of a known app is
// 40400, still with status 401, and an expired token is 40140, since some clients renew on no other code.
func (k *Keys) AuthenticateREST(c Credentials) (Identity, *protocol.ErrorInfo) {
	id, err := k.Authenticate(c)
	switch {
	case err == nil:
	case err.Code == protocol.CodeTokenExpired:
		err = protocol.Errorf(protocol.CodeTokenError, "%s", err.Message)
	case err.Code == protocol.CodeUnauthorized && c.Token == "":
		if app, key, _, bad := ParseKey(c.Key); bad == nil && k.HasApp(app) {
			if _, known := k.find(app, key); !known {
				err = protocol.Errorf(protocol.CodeNotFound, "no key %q in this app", app+"."+key).WithStatus(401)
			}
		}
	}
	return id, err
}

// CheckClientID says what is wrong with a client id asked for (40012): "" and Wildcard are fine.
func CheckClientID(id string) *protocol.ErrorInfo {
	switch {
	case !utf8.ValidString(id):
		return protocol.Errorf(protocol.CodeBadClientID, "invalid clientId: not valid UTF-8")
	case len(id) > clientIDBytesMax:
		return protocol.Errorf(protocol.CodeBadClientID, "invalid clientId: longer than %d bytes", clientIDBytesMax)
	}
	return nil
}

// Concrete says whether the identity is one client.
func (i Identity) Concrete() bool { return i.ClientID != "" && i.ClientID != Wildcard }

// Claim fills in and checks the client ids of messages this identity publishes, in place. A concrete identity gives its
// id to messages without one; another id is refused (40012). Wildcard takes any id. An unidentified one may give none.
func (i Identity) Claim(messages []channel.Message) *protocol.ErrorInfo {
	for n := range messages {
		m := &messages[n]
		switch {
		case m.ClientID == Wildcard:
			return protocol.Errorf(protocol.CodeBadClientID, "message %d: clientId %q stands for any client and cannot publish", n, m.ClientID)
		case m.ClientID == "" && i.Concrete():
			m.ClientID = i.ClientID
		case m.ClientID == "" || i.ClientID == Wildcard || m.ClientID == i.ClientID:
		case i.ClientID == "":
			return protocol.Errorf(protocol.CodeBadClientID, "message %d: an unidentified client cannot publish as %q", n, m.ClientID)
		default:
			return protocol.Errorf(protocol.CodeBadClientID, "message %d: clientId %q is not that of the publisher", n, m.ClientID)
		}
	}
	return nil
}

// ClaimMembers fills in and checks the client ids of members that this identity lets enter, update or leave, in place. A
// concrete identity gives its id to those without one; any other has to name one (91000).
func (i Identity) ClaimMembers(members []channel.Member) *protocol.ErrorInfo {
	for n := range members {
		m := &members[n]
		switch {
		case m.ClientID == Wildcard:
			return protocol.Errorf(protocol.CodeBadClientID, "member %d: clientId %q stands for any client and cannot be present", n, m.ClientID)
		case m.ClientID == "" && i.Concrete():
			m.ClientID = i.ClientID
		case m.ClientID == "":
			return protocol.Errorf(protocol.CodePresence, "member %d has no clientId, and the connection is not identified", n)
		case i.ClientID == "":
			return protocol.Errorf(protocol.CodeBadClientID, "member %d: an unidentified client cannot be present as %.100q", n, m.ClientID)
		case i.ClientID != Wildcard && m.ClientID != i.ClientID:
			return protocol.Errorf(protocol.CodeBadClientID, "member %d: clientId %.100q is not that of the connection", n, m.ClientID)
		}
		if err := CheckClientID(m.ClientID); err != nil {
			return err
		}
	}
	return nil
}

// Denied is the error for an operation the capability lacks (40160).
func Denied(op OpSet, name string) *protocol.ErrorInfo {
	return protocol.Errorf(protocol.CodeNoCapability, "operation not permitted with the provided capability: %s on %q", op, name)
}
