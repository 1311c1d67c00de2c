package conformance

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The page about compatibility names checks that exist: a section, or a section and a name.
func TestCoveragePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/ably-compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Glob("../../scripts/sdk/conformance/*.mjs")
	if err != nil {
		t.Fatal(err)
	}
	var script []byte
	for _, file := range scripts {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		script = append(script, text...)
	}
	known := map[string]bool{}
	add := func(section, name string) { known["§"+section], known["§"+section+" "+name] = true, true }
	sections := map[string]bool{}
	for _, c := range suite() {
		add(c.section, c.name)
		sections["§"+c.section] = true
	}
	for _, m := range regexp.MustCompile(`check\('([\d.]+)', '((?:[^'\\]|\\.)*)'`).FindAllStringSubmatch(string(script), -1) {
		add(m[1], strings.ReplaceAll(m[2], `\'`, `'`))
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("`(§[^`]+)`").FindAllStringSubmatch(string(page), -1) {
		section, _, _ := strings.Cut(m[1], " ")
		named[section] = true
		if !known[m[1]] {
			t.Errorf("docs/ably-compatibility.md names %q, which is no check", m[1])
		}
	}
	for section := range sections {
		if !named[section] && !strings.HasPrefix(section, "§0.") && section != "§11.1" && section != "§13" {
			t.Errorf("docs/ably-compatibility.md does not name %s", section)
		}
	}
}
