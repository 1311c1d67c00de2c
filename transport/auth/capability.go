package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"innkeeper/transport/protocol"
)

// OpSet is a set of operations.
type OpSet uint32

// The operations a capability can name. Op constants are sets of one.
const (
	Subscribe OpSet = 1 << iota
	Publish
	Presence
	History
	ChannelMetadata
	Stats
	AnnotationPublish
	AnnotationSubscribe
	ObjectPublish
	ObjectSubscribe
	MessageUpdateOwn
	MessageUpdateAny
	MessageDeleteOwn
	MessageDeleteAny
	PushSubscribe
	PushAdmin
	PrivilegedHeaders

	// AllOps is what "*" stands for.
	AllOps OpSet = 1<<iota - 1
)

// opNames is in the order of the bits.
var opNames = [...]string{
	"subscribe", "publish", "presence", "history", "channel-metadata", "stats", "annotation-publish",
	"annotation-subscribe", "object-publish", "object-subscribe", "message-update-own", "message-update-any",
	"message-delete-own", "message-delete-any", "push-subscribe", "push-admin", "privileged-headers",
}

// Has says whether all operations of op are in the set.
func (s OpSet) Has(op OpSet) bool { return s&op == op }

// String lists the operations in alphabetical order.
func (s OpSet) String() string {
	if s == AllOps {
		return "*"
	}
	var names []string
	for i, name := range opNames {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// Modes is the channel modes these operations allow.
func (s OpSet) Modes() protocol.Flags {
	var m protocol.Flags
	for _, g := range [...]struct {
		op    OpSet
		modes protocol.Flags
	}{
		{Publish, protocol.ModePublish},
		{Subscribe, protocol.ModeSubscribe | protocol.ModePresenceSubscribe},
		{Presence, protocol.ModePresence},
		{AnnotationPublish, protocol.ModeAnnotationPublish},
		{AnnotationSubscribe, protocol.ModeAnnotationSubscribe},
		{ObjectPublish, protocol.ModeObjectPublish},
		{ObjectSubscribe, protocol.ModeObjectSubscribe},
	} {
		if s&g.op != 0 {
			m |= g.modes
		}
	}
	return m
}

func parseOps(names []string) (OpSet, error) {
	if len(names) == 0 {
		return 0, errors.New("the list of operations is empty")
	}
	var s OpSet
	for _, name := range names {
		if name == "*" {
			if len(names) > 1 {
				return 0, errors.New(`"*" has to stand alone in its list`)
			}
			return AllOps, nil
		}
		i := slices.Index(opNames[:], name)
		if i < 0 {
			return 0, fmt.Errorf("there is no operation %q", name)
		}
		s |= 1 << i
	}
	return s, nil
}

// Capability says which operations a credential may do on which resources. It is immutable; the zero Capability allows
// nothing.
type Capability struct{ rules []rule }

// rule is one resource with its operations.
type rule struct {
	resource string
	kind     string   // "" for ordinary channels, "*" for all, else "meta", "queue", "filter"
	segments []string // behind the kind, split at ":"
	ops      OpSet
}

// AllowAll is the capability {"[*]*":["*"]}.
func AllowAll() Capability {
	c, err := ParseCapability(map[string][]string{"[*]*": {"*"}})
	if err != nil {
		panic("auth: " + err.Error())
	}
	return c
}

// ParseCapability reads a capability given as resource → operations. The error names the resource at fault. An empty
// map allows nothing.
func ParseCapability(m map[string][]string) (Capability, error) {
	var c Capability
	for resource, names := range m {
		r, err := parseResource(resource)
		if err == nil {
			r.ops, err = parseOps(names)
		}
		if err != nil {
			return Capability{}, fmt.Errorf("capability: resource %q: %w", resource, err)
		}
		c.rules = append(c.rules, r)
	}
	slices.SortFunc(c.rules, func(a, b rule) int { return strings.Compare(a.resource, b.resource) })
	return c, nil
}

// ParseCapabilityJSON reads a capability given as JSON text.
func ParseCapabilityJSON(text string) (Capability, error) {
	var m map[string][]string
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return Capability{}, fmt.Errorf("capability: not a JSON object of resources with lists of operations: %w", err)
	}
	return ParseCapability(m)
}

func parseResource(resource string) (rule, error) {
	r := rule{resource: resource}
	rest := resource
	if strings.HasPrefix(rest, "[") {
		end := strings.IndexByte(rest, ']')
		if end < 0 {
			return r, errors.New(`"[" without "]"`)
		}
		r.kind, rest = rest[1:end], rest[end+1:]
		switch r.kind {
		case "*", "meta", "queue", "filter":
		default:
			return r, fmt.Errorf("there is no kind of resource [%s]", r.kind)
		}
	}
	if rest == "" {
		return r, errors.New("the resource has no name")
	}
	r.segments = strings.Split(rest, ":")
	return r, nil
}

// Ops is the union of what all resources that match allow on a channel. The name is that of protocol.Name.Resource:
// a metachannel begins with "[meta]", a filtered view with "[filter]".
func (c Capability) Ops(name string) OpSet {
	kind, rest := "", name
	if strings.HasPrefix(name, "[") {
		if end := strings.IndexByte(name, ']'); end > 0 {
			kind, rest = name[1:end], name[end+1:]
		}
	}
	var s OpSet
	for i := range c.rules {
		if r := &c.rules[i]; (r.kind == kind || r.kind == "*") && matchSegments(r.segments, rest) {
			s |= r.ops
		}
	}
	return s
}

// matchSegments matches a name against segments: a "*" at the end stands for one or more, one elsewhere for exactly
// one; as a part of a segment it is a letter like any other.
func matchSegments(segments []string, name string) bool {
	last := len(segments) - 1
	for i, want := range segments {
		if i == last && want == "*" {
			return true
		}
		got, rest, more := strings.Cut(name, ":")
		if want != "*" && want != got || more == (i == last) {
			return false
		}
		name = rest
	}
	return true
}

// Allows says whether op is allowed on a channel.
func (c Capability) Allows(name string, op OpSet) bool { return c.Ops(name).Has(op) }

// AllowsEverywhere says whether op is allowed on the resource "*" (or "[*]*"), which operations on the app as a whole
// ask for, such as the enumeration of channels.
func (c Capability) AllowsEverywhere(op OpSet) bool {
	var s OpSet
	for i := range c.rules {
		if r := &c.rules[i]; (r.kind == "" || r.kind == "*") && len(r.segments) == 1 && r.segments[0] == "*" {
			s |= r.ops
		}
	}
	return s.Has(op)
}

// Empty says whether the capability allows nothing at all.
func (c Capability) Empty() bool { return len(c.rules) == 0 }

// String is the capability as canonical JSON: resources and operations in alphabetical order.
func (c Capability) String() string {
	m := make(map[string][]string, len(c.rules))
	for _, r := range c.rules {
		m[r.resource] = strings.Split(r.ops.String(), ",")
	}
	text, _ := json.Marshal(m) // maps of strings always encode, keys sorted
	return string(text)
}
