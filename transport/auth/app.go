package auth

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"innkeeper/transport/protocol"
)

// App is an app that was provisioned at run time. Its JSON is what nodes keep of it: fields are added, never renamed.
type App struct {
	ID        string `json:"id"`
	AccountID string `json:"accountId"`
	CreatedMs int64  `json:"created"`
	// Managed says that an operator made it: AccountID is an account that is metered and limited. Those that anybody made
	// have an id for show.
	Managed bool `json:"managed,omitempty"`
	// Extends says that the configuration has the app, and this is what was added to it.
	Extends    bool            `json:"extends,omitempty"`
	Name       string          `json:"name,omitempty"`
	Disabled   bool            `json:"disabled,omitempty"` // nobody gets in
	ModifiedMs int64           `json:"modified,omitempty"`
	Rules      []Rule          `json:"rules,omitempty"`
	Keys       []AppKey        `json:"keys"`
	Namespaces []Namespace     `json:"namespaces"`
	Channels   json.RawMessage `json:"channels,omitempty"` // fixtures, as they were given: an array
	Limits     json.RawMessage `json:"limits,omitempty"`   // as they were given
}

// AppKey is a key of a provisioned app.
type AppKey struct {
	ID         string `json:"id"`
	Secret     string `json:"secret"`
	Capability string `json:"capability"` // as it was given
	Revocable  bool   `json:"revocableTokens,omitempty"`

	Name       string `json:"name,omitempty"`
	Revoked    bool   `json:"revoked,omitempty"` // opens nothing any more
	CreatedMs  int64  `json:"created,omitempty"`
	ModifiedMs int64  `json:"modified,omitempty"`
}

// Namespace sets what differs for the channels whose name begins with "ID:".
type Namespace struct {
	ID              string `json:"id"`
	Persisted       bool   `json:"persisted,omitempty"`
	PushEnabled     bool   `json:"pushEnabled,omitempty"`
	MutableMessages bool   `json:"mutableMessages,omitempty"`
	// OccupiedBy and VacatedDelayMs are this server's own; "" and nil mean the general setting.
	OccupiedBy     string `json:"occupiedBy,omitempty"` // subscribers or connections
	VacatedDelayMs *int64 `json:"vacatedDelay,omitempty"`
	// PresenceMembers is how many members a channel has at most; nil means the general setting.
	PresenceMembers *int `json:"presenceMembers,omitempty"`
	// Config, of a namespace that an operator made, is all of it, as whoever knows about namespaces keeps it.
	Config     json.RawMessage `json:"config,omitempty"`
	CreatedMs  int64           `json:"created,omitempty"`
	ModifiedMs int64           `json:"modified,omitempty"`
}

const (
	appKeysMax       = 100
	appNamespacesMax = 500
	defaultText      = `{"*":["*"]}`
)

var namespaceForm = regexp.MustCompile(`^[^:\r\n]{1,256}$`)

// NewApp makes an app from a JSON request: {keys: [{capability?, revocableTokens?}], namespaces: [{id, …}], channels,
// limits}. Ids and secrets are drawn; keys and namespaces keep their order. A capability is JSON text or an object. What
// cannot be is 40000, 40001 or 40003.
func NewApp(request []byte, nowMs int64) (*App, *protocol.ErrorInfo) {
	var in struct {
		Keys []struct {
			Capability json.RawMessage `json:"capability"`
			Revocable  bool            `json:"revocableTokens"`
		} `json:"keys"`
		Namespaces []Namespace     `json:"namespaces"`
		Channels   json.RawMessage `json:"channels"`
		Limits     json.RawMessage `json:"limits"`
	}
	if len(request) > 0 {
		if err := json.Unmarshal(request, &in); err != nil {
			return nil, protocol.Errorf(protocol.CodeBadBody, "the app cannot be read: %v", err)
		}
	}
	if len(in.Keys) > appKeysMax || len(in.Namespaces) > appNamespacesMax {
		return nil, protocol.Errorf(protocol.CodeBadRequest, "an app has %d keys and %d namespaces at most", appKeysMax, appNamespacesMax)
	}
	app := &App{
		ID: draw(9), AccountID: draw(9), CreatedMs: nowMs, Keys: []AppKey{}, Namespaces: in.Namespaces,
		Channels: in.Channels, Limits: in.Limits,
	}
	for i, k := range in.Keys {
		text, err := capabilityText(k.Capability)
		if err != nil {
			return nil, protocol.Errorf(protocol.CodeBadParamValue, "keys[%d]: %v", i, err)
		}
		app.Keys = append(app.Keys, AppKey{ID: draw(6), Secret: draw(24), Capability: text, Revocable: k.Revocable})
	}
	if _, err := app.Fixtures(); err != nil {
		return nil, err
	}
	if _, err := app.PresenceMembers(); err != nil {
		return nil, err
	}
	for i, n := range in.Namespaces {
		switch {
		case !namespaceForm.MatchString(n.ID):
			return nil, protocol.Errorf(protocol.CodeBadParamValue, "namespaces[%d]: %.100q is no id", i, n.ID)
		case n.OccupiedBy != "" && n.OccupiedBy != "subscribers" && n.OccupiedBy != "connections":
			return nil, protocol.Errorf(protocol.CodeBadParamValue, "namespaces[%d]: occupiedBy has to be subscribers or connections", i)
		case n.VacatedDelayMs != nil && (*n.VacatedDelayMs < 0 || *n.VacatedDelayMs > 1<<40):
			return nil, protocol.Errorf(protocol.CodeBadParamValue, "namespaces[%d]: vacatedDelay has to be a number of milliseconds, 0 or more", i)
		}
	}
	return app, nil
}

// capabilityText is a capability as text, checked.
func capabilityText(given json.RawMessage) (string, error) {
	text := string(given)
	switch {
	case text == "" || text == "null":
		return defaultText, nil
	case text[0] == '"':
		if err := json.Unmarshal(given, &text); err != nil {
			return "", err
		}
	}
	_, err := ParseCapabilityJSON(text)
	return text, err
}

// draw makes text of n random bytes, of letters and digits, - and _, beginning with a letter or digit.
func draw(n int) string {
	b := make([]byte, n)
	for {
		rand.Read(b)
		if s := base64.RawURLEncoding.EncodeToString(b); !strings.HasPrefix(s, "-") && !strings.HasPrefix(s, "_") {
			return s
		}
	}
}

// AuthKeys are the app's keys as Keys takes them. Those that open nothing are allowed nothing.
func (a *App) AuthKeys() ([]Key, error) {
	keys := make([]Key, 0, len(a.Keys))
	for _, k := range a.Keys {
		if shut := a.shut(&k); shut != Open {
			keys = append(keys, Key{App: a.ID, ID: k.ID, Secret: k.Secret, Shut: shut})
			continue
		}
		c, err := ParseCapabilityJSON(k.Capability)
		if err != nil {
			return nil, fmt.Errorf("key %s.%s: %w", a.ID, k.ID, err)
		}
		keys = append(keys, Key{
			App: a.ID, ID: k.ID, Secret: k.Secret, Capability: c, CapabilityText: k.Capability, Revocable: k.Revocable,
		})
	}
	return keys, nil
}

// shut is why a key of the app opens nothing. A key that was revoked stays so when the app is enabled again.
func (a *App) shut(k *AppKey) Shut {
	switch {
	case k.Revoked:
		return KeyRevoked
	case a.Disabled:
		return AppDisabled
	}
	return Open
}

// Rule is an integration rule of an app, made at run time. Config is the rule as whoever knows about rules keeps it.
type Rule struct {
	ID         string          `json:"id"`
	CreatedMs  int64           `json:"created"`
	ModifiedMs int64           `json:"modified,omitempty"`
	Disabled   bool            `json:"disabled,omitempty"`
	After      uint64          `json:"after"`             // seq of the last event before it was made, or switched on again
	GapFrom    uint64          `json:"gapFrom,omitempty"` // seq of the first event that it did not send when it was switched off; 0: it never was
	Config     json.RawMessage `json:"config"`
}

// Account is whose the app is, "" when it is nobody's in particular.
func (a *App) Account() string {
	if a.Managed {
		return a.AccountID
	}
	return ""
}
