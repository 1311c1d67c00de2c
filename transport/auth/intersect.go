package auth

import (
	"slices"
	"strings"
)

// Intersect is what both capabilities allow, resource by resource: the operations that any two overlapping resources
// share, on the names they share.
func (c Capability) Intersect(with Capability) Capability {
	var both Capability
	for i := range c.rules {
		for j := range with.rules {
			r, ok := c.rules[i].overlap(&with.rules[j])
			if !ok {
				continue
			}
			at, found := slices.BinarySearchFunc(both.rules, r.resource, func(x rule, resource string) int {
				return strings.Compare(x.resource, resource)
			})
			if found {
				both.rules[at].ops |= r.ops
			} else {
				both.rules = slices.Insert(both.rules, at, r)
			}
		}
	}
	return both
}

// HasResource says whether the capability names exactly this resource.
func (c Capability) HasResource(resource string) bool {
	_, found := slices.BinarySearchFunc(c.rules, resource, func(x rule, resource string) int {
		return strings.Compare(x.resource, resource)
	})
	return found
}

// overlap is the resource of the names that both match, with the operations that both allow.
func (r *rule) overlap(with *rule) (rule, bool) {
	both := rule{kind: r.kind, ops: r.ops & with.ops}
	switch {
	case both.ops == 0:
		return rule{}, false
	case r.kind == with.kind, with.kind == "*":
	case r.kind == "*":
		both.kind = with.kind
	default:
		return rule{}, false
	}
	var ok bool
	if both.segments, ok = overlapSegments(r.segments, with.segments); !ok {
		return rule{}, false
	}
	both.resource = strings.Join(both.segments, ":")
	if both.kind != "" {
		both.resource = "[" + both.kind + "]" + both.resource
	}
	return both, true
}

// overlapSegments is the pattern of the names that two patterns share. At one place a "*" gives way to the other
// segment; one at the end gives way to all that is left of the other pattern.
func overlapSegments(a, b []string) (both []string, ok bool) {
	for i := 0; i < len(a) && i < len(b); i++ {
		switch {
		case i == len(a)-1 && a[i] == "*":
			return append(both, b[i:]...), true
		case i == len(b)-1 && b[i] == "*":
			return append(both, a[i:]...), true
		case a[i] == b[i] || b[i] == "*":
			both = append(both, a[i])
		case a[i] == "*":
			both = append(both, b[i])
		default:
			return nil, false
		}
	}
	return both, len(a) == len(b)
}
