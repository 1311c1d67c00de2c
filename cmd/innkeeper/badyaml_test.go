package main

import (
	"os"
	"strings"
	"testing"
)

// TestWrongYAML starts nodes on files that are no configuration. The message names the file and the place.
func TestWrongYAML(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		says []string
	}{
		"empty":            {"", []string{"apps", "add an app"}},
		"string not ended": {"node:\n  listen: \"127.0.0.1:1\napps: []\n", []string{"not valid YAML", "line 2"}},
		"tab":              {"node:\n\tlisten: x\n", []string{"not valid YAML", "line 2"}},
		"no map":           {"hello\n", []string{"map of sections"}},
		"list":             {"- a\n", []string{"map of sections"}},
		"key twice":        {"node: {}\nnode: {}\n", []string{`"node"`, "line 1"}},
		"unknown anchor":   {"node: *nope\n", []string{"nope"}},
		"binary":           {"\x00\xff\xfe\x80\x81", []string{"not valid YAML"}},
		"wrong types":      {"node: [1]\napps: {}\nlog: 3\n", []string{"3 problems", "node: is a list", "apps: is a map", "log: 3 is a number"}},
		"wrong values": {"node: {listn: x, bootstrap_expect: many}\nstate_events: {vacated_delay: 5}\n",
			[]string{"node.listn", "node.listen", `"many"`, "vacated_delay", "5s"}},
		"aliases of aliases": {"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n" +
			"e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t, c.text)
			p := program(t, "serve", "--config", path)
			p.refused(exitRefused, append(c.says, path)...)
			if n := len(p.err.String()); n > 4000 {
				t.Errorf("the message has %d bytes", n)
			}
		})
	}
	dir := t.TempDir()
	program(t, "serve", "--config", dir).refused(exitRefused, dir, "directory")
	locked := file(t, goodFile)
	if err := os.Chmod(locked, 0); err != nil || os.Getuid() == 0 {
		return // root reads everything
	}
	p := program(t, "serve", "--config", locked)
	p.refused(exitRefused, locked, "may not be read")
	if strings.Contains(p.err.String(), "geheim") {
		t.Error("a secret was shown")
	}
}
