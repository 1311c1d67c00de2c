package limits

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Name names one of the things that are limited.
type Name uint8

// The names, in the order in which they are shown.
const (
	Channels           Name = iota // open at once
	ChannelRate                    // opened per second
	Connections                    // at once
	ConnectionRate                 // opened per second
	MessageRate                    // published per second
	ChannelMessageRate             // published per second on one channel
	ConnectionInRate               // published per second by one connection
	ConnectionOutRate              // delivered per second to one connection
	PresenceMembers                // of one channel
	MessageSize                    // bytes of one publish
	APIRequestRate                 // REST requests per second

	NumNames
)

var names = [NumNames]string{
	"channels", "channelRate", "connections", "connectionRate", "messageRate", "channelMessageRate", "connectionInRate",
	"connectionOutRate", "presenceMembers", "messageSize", "apiRequestRate",
}

var units = [NumNames]string{
	"open at once", "opened per second", "at once", "opened per second", "messages published per second",
	"messages published per second on one channel", "messages published per second by one connection",
	"messages delivered per second to one connection", "members of one channel", "bytes of one publish", "requests per second",
}

// String is the name in JSON and on the command line.
func (n Name) String() string { return names[n] }

// Unit says what is counted.
func (n Name) Unit() string { return units[n] }

// ParseName reads a name.
func ParseName(text string) (Name, error) {
	if i := slices.Index(names[:], text); i >= 0 {
		return Name(i), nil
	}
	return 0, fmt.Errorf("%.60q is not a limit; known are %s", text, strings.Join(names[:], ", "))
}

// Single says whether the limit is of one channel, connection or publish, and not of all of a scope together.
func (n Name) Single() bool {
	switch n {
	case ChannelMessageRate, ConnectionInRate, ConnectionOutRate, PresenceMembers, MessageSize:
		return true
	}
	return false
}

// Rate says whether the limit is a number per second of all of a scope together.
func (n Name) Rate() bool {
	return n == ChannelRate || n == ConnectionRate || n == MessageRate || n == APIRequestRate
}

// AtOnce says whether the limit is of what is there at one moment, in all of a scope together.
func (n Name) AtOnce() bool { return n == Channels || n == Connections }

// Limit is two thresholds; 0 is none.
type Limit struct {
	Soft int64 `json:"soft,omitempty"` // who asked for it is told when this is reached
	Hard int64 `json:"hard,omitempty"` // what goes beyond is refused
}

// Near is where somebody is told: the soft threshold, or without one four fifths of the hard one. 0 is nowhere.
func (l Limit) Near() int64 {
	if l.Soft > 0 || l.Hard == 0 {
		return l.Soft
	}
	return max(l.Hard*4/5, 1)
}

// Set is the limits of one scope. The zero Set limits nothing.
type Set [NumNames]Limit

// Empty says that nothing is limited.
func (s *Set) Empty() bool { return *s == Set{} }

// Bounds of what can be set.
const (
	limitMax   = 1_000_000_000
	sizeMin    = 1024
	sizeMax    = 65536 // what a node takes anyway
	membersMax = 100_000
)

// Problem is one thing that is wrong with limits as they were given.
type Problem struct {
	Field string // as in channels.hard
	Text  string // with the value and the remedy
}

func (p *Problem) Error() string { return p.Field + " " + p.Text }

// MarshalJSON gives {"channels": {"soft": …, "hard": …}, …}, without those that are not set.
func (s Set) MarshalJSON() ([]byte, error) {
	out := map[string]Limit{}
	for n, l := range s {
		if l != (Limit{}) {
			out[names[n]] = l
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote, or a person did. Errors are a *Problem. A limit that is null is none; those
// that are not named stay as they are.
func (s *Set) UnmarshalJSON(b []byte) error {
	var in map[string]json.RawMessage
	if err := json.Unmarshal(b, &in); err != nil {
		return &Problem{"limits", `must be an object such as {"channels": {"soft": 8000, "hard": 10000}}`}
	}
	for _, key := range sortedKeys(in) {
		n, err := ParseName(key)
		if err != nil {
			return &Problem{key, "is not a limit; known are " + strings.Join(names[:], ", ")}
		}
		l, err := readLimit(n, in[key])
		if err != nil {
			return err
		}
		s[n] = l
	}
	return nil
}

func readLimit(n Name, b json.RawMessage) (l Limit, err error) {
	var parts map[string]json.RawMessage
	if json.Unmarshal(b, &parts) != nil {
		return l, &Problem{n.String(), fmt.Sprintf(`is %.60s; it must be an object such as {"hard": 100}, or null for none`, b)}
	}
	for _, key := range sortedKeys(parts) {
		field, value := n.String()+"."+key, parts[key]
		var to *int64
		switch key {
		case "soft":
			to = &l.Soft
		case "hard":
			to = &l.Hard
		default:
			return l, &Problem{field, "is not known; a limit has soft and hard"}
		}
		if string(value) == "null" {
			continue
		}
		if json.Unmarshal(value, to) != nil {
			return l, &Problem{field, fmt.Sprintf("is %.60s; it must be a whole number, or null for none", value)}
		}
	}
	return l, l.check(n)
}

// check says what is wrong with a limit.
func (l Limit) check(n Name) error {
	low, high := int64(0), int64(limitMax)
	switch n {
	case MessageSize:
		low, high = sizeMin, sizeMax
	case PresenceMembers:
		high = membersMax
	}
	for _, part := range []struct {
		name  string
		value int64
	}{{"soft", l.Soft}, {"hard", l.Hard}} {
		if part.value != 0 && (part.value < low || part.value > high) {
			return &Problem{n.String() + "." + part.name, fmt.Sprintf("is %d; it must be from %d to %d (%s), or 0 for none", part.value, max(low, 1), high, n.Unit())}
		}
	}
	switch {
	case n.Single() && l.Soft > 0:
		return &Problem{n.String() + ".soft", fmt.Sprintf("is %d; %s has no soft threshold, since it is of one thing and not of all together; set hard", l.Soft, n)}
	case l.Soft > 0 && l.Hard > 0 && l.Soft > l.Hard:
		return &Problem{n.String() + ".soft", fmt.Sprintf("is %d, above the hard threshold %d; it must be below, to be told before something is refused", l.Soft, l.Hard)}
	}
	return nil
}

// AsProblem finds what is wrong in an error of UnmarshalJSON.
func AsProblem(err error) (*Problem, bool) { return errors.AsType[*Problem](err) }

// Tighter is the lower of two hard thresholds, of which 0 is none.
func Tighter(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Scope is whose limits they are: an app's or an account's.
type Scope string

// AppScope is that of an app.
func AppScope(app string) Scope { return Scope("app/" + app) }

// AccountScope is that of an account: all its apps together.
func AccountScope(account string) Scope { return Scope("account/" + account) }

// Kind is "app" or "account".
func (s Scope) Kind() string { kind, _, _ := strings.Cut(string(s), "/"); return kind }

// ID is the id of the app or the account.
func (s Scope) ID() string { _, id, _ := strings.Cut(string(s), "/"); return id }

// Key is one limit of one scope.
type Key struct {
	Scope Scope `json:"scope"`
	Name  Name  `json:"name"`
}

// Patch is the set with some limits changed: objects with soft and hard, of which null removes one, or null for none at all.
// Errors are a *Problem.
func (s Set) Patch(change map[string]any) (Set, error) {
	doc, err := json.Marshal(s)
	if err != nil {
		return s, err
	}
	var whole map[string]any
	if err := json.Unmarshal(doc, &whole); err != nil {
		return s, err
	}
	for name, to := range change {
		parts, isObject := to.(map[string]any)
		was, _ := whole[name].(map[string]any)
		if !isObject || was == nil {
			whole[name] = to
			continue
		}
		for part, value := range parts {
			was[part] = value
		}
	}
	if doc, err = json.Marshal(whole); err != nil {
		return s, err
	}
	var next Set
	err = next.UnmarshalJSON(doc)
	return next, err
}
