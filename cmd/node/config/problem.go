package config

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Key  string // full path, such as apps[0].keys[1].key
	From string // "", "flag --node.listen" or "variable INNKEEPER_NODE_LISTEN"
	Text string // the value, what is allowed and what to do
	Code int    // by which clients tell it from others; 0 for none of its own
}

func (p Problem) String() string {
	if p.From != "" {
		return p.Key + " (" + p.From + "): " + p.Text
	}
	return p.Key + ": " + p.Text
}

// Error is everything that is wrong with a configuration: first what could not be read, then what cannot be meant.
type Error struct {
	File     string // "" when there is none
	Problems []Problem
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("configuration")
	if e.File != "" {
		b.WriteString(" " + e.File)
	}
	if len(e.Problems) == 1 {
		return b.String() + ": " + e.Problems[0].String()
	}
	fmt.Fprintf(&b, ": %d problems", len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}

// problems gathers what is wrong, so that one run tells all.
type problems struct {
	list  []Problem
	from  map[string]string // key → where its value came from, when not from the file
	meant map[string]bool   // keys that an unknown one beside them was most likely meant to be
}

func (ps *problems) add(key, format string, args ...any) {
	ps.list = append(ps.list, Problem{Key: key, From: ps.from[key], Text: fmt.Sprintf(format, args...)})
}

// coded is add for what clients know by a code.
func (ps *problems) coded(code int, key, format string, args ...any) {
	ps.add(key, format, args...)
	ps.list[len(ps.list)-1].Code = code
}

// has tells whether something was found at the key, below it or above it: then further checks would only repeat it. So
// would telling that a key is missing which is there, but misspelt.
func (ps *problems) has(key string) bool {
	if ps.meant[key] {
		return true
	}
	for _, p := range ps.list {
		if p.Key == key || isUnder(p.Key, key) || isUnder(key, p.Key) {
			return true
		}
	}
	return false
}

func isUnder(path, parent string) bool {
	return len(path) > len(parent) && strings.HasPrefix(path, parent) && (path[len(parent)] == '.' || path[len(parent)] == '[')
}
