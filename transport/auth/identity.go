package auth

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
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
}

// Credentials is what a client offered, as text.
type Credentials struct {
	Key      string // appId.keyId:secret
	Token    string
	ClientID string // identity asked for; "" for none
}

const clientIDBytesMax = 1024

// FromRequest collects the credentials of a WebSocket upgrade or a REST request: the query parameters key, access_token
// and accessToken, the header Authorization (Basic, Bearer), the parameter clientId and the header X-Ably-ClientId.
// Headers win over parameters. What cannot be read is an error (40005, 40012), nothing offered is not.
func FromRequest(r *http.Request, query url.Values) (Credentials, *protocol.ErrorInfo) {
	c := Credentials{Key: query.Get("key"), Token: query.Get("access_token"), ClientID: query.Get("clientId")}
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

// Authenticate says who offers these credentials. Failures keep outside 40140–40149, because no fresh token can cure
// them: 40101 for missing or wrong ones and for tokens, which are not enabled; 40005 for a key that cannot be read;
// 40012 for an impossible clientId.
func (k *Keys) Authenticate(c Credentials) (Identity, *protocol.ErrorInfo) {
	switch {
	case c.Key == "" && c.Token == "":
		return Identity{}, protocol.Errorf(protocol.CodeUnauthorized, "no credentials: give an API key")
	case c.Key == "":
		return Identity{}, protocol.Errorf(protocol.CodeUnauthorized, "token authentication is not enabled on this server: use an API key")
	}
	app, id, secret, err := ParseKey(c.Key)
	if err != nil {
		return Identity{}, protocol.Errorf(protocol.CodeBadCredential, "%s", err).WithStatus(401)
	}
	key, known := k.Lookup(app, id)
	if !secretEqual(secret, key.Secret) || !known {
		// One text for an unknown app, an unknown key and a wrong secret: it tells a guesser nothing.
		return Identity{}, protocol.Errorf(protocol.CodeUnauthorized, "invalid credentials: unknown key or wrong secret")
	}
	client := c.ClientID
	if err := CheckClientID(client); err != nil {
		return Identity{}, err
	}
	if client == "" {
		client = Wildcard
	}
	return Identity{App: key.App, KeyName: key.Name(), ClientID: client, Capability: key.Capability}, nil
}

// AuthenticateREST is Authenticate with the one difference that REST clients expect: an unknown key of a known app is
// 40400, still with status 401.
func (k *Keys) AuthenticateREST(c Credentials) (Identity, *protocol.ErrorInfo) {
	id, err := k.Authenticate(c)
	if err == nil || err.Code != protocol.CodeUnauthorized {
		return id, err
	}
	if app, key, _, bad := ParseKey(c.Key); bad == nil && k.HasApp(app) {
		if _, known := k.Lookup(app, key); !known {
			err = protocol.Errorf(protocol.CodeNotFound, "no key %q in this app", app+"."+key).WithStatus(401)
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

// Denied is the error for an operation the capability lacks (40160).
func Denied(op OpSet, name string) *protocol.ErrorInfo {
	return protocol.Errorf(protocol.CodeNoCapability, "operation not permitted with the provided capability: %s on %q", op, name)
}
