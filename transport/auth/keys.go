package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"strings"
	"sync/atomic"

	"innkeeper/transport/protocol"
)

// Key is one API key of an app.
type Key struct {
	App, ID    string
	Secret     string
	Capability Capability
	// CapabilityText is the capability as whoever made the key wrote it; "" stands for its canonical text.
	CapabilityText string
	// Revocable says that tokens of this key can be revoked; they live for RevocableTTLMax at most.
	Revocable bool
	// Shut is why the key opens nothing any more: it stays known so that who has it is told.
	Shut Shut
}

// Shut is why a key that is known opens nothing.
type Shut uint8

const (
	Open Shut = iota // it does
	KeyRevoked
	AppDisabled
)

// refusal is what who has proved to have the key is told: 40131, 40120, or nil when it opens something. No fresh token of
// the key cures either.
func (k *Key) refusal() *protocol.ErrorInfo {
	switch k.Shut {
	case KeyRevoked:
		return protocol.NewError(protocol.CodeKeyRevoked)
	case AppDisabled:
		return protocol.NewError(protocol.CodeAppDisabled)
	}
	return nil
}

// Name is appId.keyId.
func (k *Key) Name() string { return k.App + "." + k.ID }

// Text is the capability as text.
func (k *Key) Text() string {
	if k.CapabilityText != "" {
		return k.CapabilityText
	}
	return k.Capability.String()
}

// ParseKey takes a key's text, appId.keyId:secret, apart. The error never repeats the secret.
func ParseKey(text string) (app, id, secret string, err error) {
	name, secret, ok := strings.Cut(text, ":")
	if !ok {
		return "", "", "", fmt.Errorf("key: the form is appId.keyId:secret, there is no %q", ":")
	}
	app, id, ok = strings.Cut(name, ".")
	switch {
	case !ok:
		return "", "", "", fmt.Errorf("key: the form is appId.keyId:secret, there is no %q before the %q", ".", ":")
	case app == "" || id == "" || secret == "":
		return "", "", "", fmt.Errorf("key: the form is appId.keyId:secret, one part is empty")
	case strings.ContainsAny(text, " \t\r\n\v\f\x00"):
		return "", "", "", fmt.Errorf("key: white space or a zero byte in it")
	}
	return app, id, secret, nil
}

// Keys is what a node knows to judge credentials by: keys, and what was revoked. It is safe for concurrent use; Replace
// and ReplaceRevocations exchange all of it at once.
type Keys struct {
	set     atomic.Pointer[keySet]
	revoked atomic.Pointer[revocations]
}

type keySet struct {
	keys map[string]Key // by name
	apps map[string]bool
}

// NewKeys makes a set of keys. Of two keys with one name the later wins, but never one that is shut over one that is open.
func NewKeys(keys []Key) *Keys {
	k := &Keys{}
	k.Replace(keys)
	k.ReplaceRevocations(nil)
	return k
}

// Replace exchanges all keys. Identities handed out before stay as they are.
func (k *Keys) Replace(keys []Key) {
	s := &keySet{keys: make(map[string]Key, len(keys)), apps: make(map[string]bool)}
	for _, key := range keys {
		s.apps[key.App] = true
		if old, there := s.keys[key.Name()]; there && old.Shut == Open && key.Shut != Open {
			continue
		}
		s.keys[key.Name()] = key
	}
	k.set.Store(s)
}

// find finds a key by app and id, be it shut or not.
func (k *Keys) find(app, id string) (Key, bool) {
	key, ok := k.set.Load().keys[app+"."+id]
	return key, ok && key.App == app
}

// Lookup finds a key that is open by app and id.
func (k *Keys) Lookup(app, id string) (Key, bool) {
	key, ok := k.find(app, id)
	return key, ok && key.Shut == Open
}

// LookupName finds a key that is open by its name, appId.keyId.
func (k *Keys) LookupName(name string) (Key, bool) {
	key, ok := k.set.Load().keys[name]
	return key, ok && key.Shut == Open
}

// Refusal is why the key of that name opens nothing any more, nil when it does. One that is gone counts as revoked.
func (k *Keys) Refusal(name string) *protocol.ErrorInfo {
	key, ok := k.set.Load().keys[name]
	if !ok {
		key.Shut = KeyRevoked
	}
	return key.refusal()
}

// OfApp are the keys of an app that are open, in no order.
func (k *Keys) OfApp(app string) []Key {
	var list []Key
	for _, key := range k.set.Load().keys {
		if key.App == app && key.Shut == Open {
			list = append(list, key)
		}
	}
	return list
}

// HasApp says whether any key belongs to the app, be it shut or not.
func (k *Keys) HasApp(app string) bool { return k.set.Load().apps[app] }

// secretEqual compares in a time that depends on neither secret.
func secretEqual(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
