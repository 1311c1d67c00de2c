package node

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"innkeeper/cmd/node/config"
)

// exposed is the innkeeper_* metrics of a node, each as the page has it: a line of a table.
func (r *running) exposed() map[string]string {
	r.t.Helper()
	_, body := request(r.t, "GET", "http://"+r.AdminAddr()+"/metrics", "", "", nil)
	sample := regexp.MustCompile(`^(innkeeper_\w+)(?:\{(.*)\})? `)
	label := regexp.MustCompile(`(\w+)="[^"]*"`)
	help, lines := "", map[string]string{}
	var name, kind string
	for line := range strings.Lines(string(body)) {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, help, _ = strings.Cut(rest, " ")
		} else if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			_, kind, _ = strings.Cut(rest, " ")
		} else if m := sample.FindStringSubmatch(line); m != nil {
			var labels []string
			for _, l := range label.FindAllStringSubmatch(m[2], -1) {
				labels = append(labels, l[1])
			}
			labelled := "-"
			if len(labels) > 0 {
				labelled = strings.Join(labels, ", ")
			}
			lines[name] = fmt.Sprintf("| `%s` | %s | %s | %s |", name, kind, labelled, help)
		}
	}
	return lines
}

// TestMetricsArePublished compares docs/metrics.md with what a node exposes that has all there is to be told of: another
// node, a rule, an app with a limit. No other page names a metric that is not there.
func TestMetricsArePublished(t *testing.T) {
	cfg := settings(t.TempDir())
	cfg.Apps[0].Rules = []config.Rule{{ID: "state", Source: "channel.state", Target: config.Target{URL: "http://127.0.0.1:9/"}}}
	n := run(t, cfg).ready()
	other := joining(t.TempDir(), n)
	other.Apps = cfg.Apps
	run(t, other).ready()
	n.steer("PATCH", "/apps/demo/limits", `{"channels":{"hard":100}}`, 200, nil)
	n.occupy("chat:a")

	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(innkeeper_\\w+)` .*$").FindAllSubmatch(page, -1) {
		if told[string(m[1])] != "" {
			t.Errorf("%s is there twice", m[1])
		}
		told[string(m[1])] = string(m[0])
	}
	var there map[string]string
	n.until("metrics of the app, of its limit and of the rule's sender", func() bool {
		there = n.exposed()
		return there["innkeeper_app_connections"] != "" && there["innkeeper_limit_value"] != "" && there["innkeeper_rule_lag_seconds"] != "" && there["innkeeper_link_up"] != ""
	})
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if told[name] != there[name] {
			t.Errorf("docs/metrics.md says\n%s\nof what is\n%s", told[name], there[name])
		}
	}
	for name := range told {
		if there[name] == "" {
			t.Errorf("there is no %s", name)
		}
	}

	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	for _, path := range append(pages, "../../README.md", "../../CHANGELOG.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`\binnkeeper_[a-z_]+`).FindAll(text, -1) {
			if there[string(bytes.TrimSuffix(name, []byte("_")))] == "" {
				t.Errorf("%s names %s, which is not there", path, name)
			}
		}
	}
}
