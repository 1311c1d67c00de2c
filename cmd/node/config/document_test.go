package config

import (
	"strings"
	"testing"
)

// TestOneDocument: what would not be read is refused; what divides nothing is not.
func TestOneDocument(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		line int // in which the second begins; 0: there is one only
	}{
		"one":                             {"a: 1\n", 0},
		"begun with a line":               {"---\na: 1\n", 0},
		"begun behind a directive":        {"%YAML 1.2\n# words\n--- # words\na: 1\n", 0},
		"begun in the same line":          {"--- {a: 1}\n", 0},
		"ended with a line":               {"a: 1\n---\n", 0},
		"ended with dots and words":       {"a: 1\n...\n# words\n\n", 0},
		"dashes in a list":                {"- - - a\n-\n  - ---\n", 0},
		"dashes in a text":                {"a: |\n  ---\n  b: 2\n", 0},
		"dashes of a name":                {"---a: 1\n----: 2\n", 0},
		"a second one":                    {"a: 1\n---\nb: 2\n", 2},
		"with other ends of lines":        {"a: 1\r\n---\r\nb: 2\r\n", 2},
		"with old ends of lines":          {"a: 1\r---\rb: 2\r", 2},
		"in the line that divides":        {"a: 1\n--- {b: 2}\n", 2},
		"behind a tab":                    {"a: 1\n---\t{b: 2}\n", 2},
		"behind dots":                     {"a: 1\n...\nb: 2\n", 2},
		"behind dots and a directive":     {"a: 1\n...\n%YAML 1.2\n---\nb: 2\n", 2},
		"behind an empty one":             {"---\n---\nb: 2\n", 2},
		"behind a mark of the byte order": {"\ufeff---\na: 1\n---\nb: 2\n", 3},
		"the third":                       {"a: 1\n---\n---\nb: 2\n", 2},
	} {
		if got := beginOfSecond(test.text); got != test.line {
			t.Errorf("%s: line %d, want %d", name, got, test.line)
		}
	}
	_, err := Load(write(t, strings.TrimSpace(app)+"\n---\nnode: {data_dir: zzz, foo: 1}\n"), nil, nil)
	if err == nil || !strings.Contains(err.Error(), "n1.yaml: line 3 begins a second document") {
		t.Errorf("got %v", err)
	}
}
