package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Summary writes the configuration in effect for people to read: a line a setting, those that are as by default marked,
// secrets left out.
func (cfg Config) Summary() string {
	var b strings.Builder
	defaults := map[string]string{}
	for _, s := range Settings() {
		defaults[s.Path] = s.Default
	}
	defaults["node.bootstrap_expect"] = fmt.Sprint(cfg.Node.expect())
	walk(reflect.ValueOf(cfg), "", func(path string, _ reflect.StructField, v reflect.Value) {
		if path == "apps" {
			return
		}
		text, note := display(v), ""
		if text == defaults[path] {
			note = "  (default)"
		}
		if text == "" {
			text = "-"
		}
		fmt.Fprintf(&b, "%-31s %s%s\n", path, text, note)
	})
	for i := range cfg.Apps {
		cfg.Apps[i].summary(&b)
	}
	return b.String()
}

func (a *App) summary(b *strings.Builder) {
	fmt.Fprintf(b, "app %s\n", a.ID)
	for _, k := range a.Keys {
		name, _, _ := strings.Cut(k.Key, ":")
		fmt.Fprintf(b, "  key %s:***", name)
		for _, resource := range slices.Sorted(maps.Keys(k.Capability)) {
			fmt.Fprintf(b, "  %s: %s", resource, strings.Join(k.Capability[resource], ","))
		}
		b.WriteByte('\n')
	}
	for _, ns := range a.Namespaces {
		fmt.Fprintf(b, "  namespace %s  occupied_by: %s", ns.ID, ns.OccupiedBy)
		if ns.VacatedDelay != nil {
			fmt.Fprintf(b, "  vacated_delay: %v", *ns.VacatedDelay)
		}
		if ns.PresenceMembers != nil {
			fmt.Fprintf(b, "  presence_members: %d", *ns.PresenceMembers)
		}
		if ns.MutableMessages {
			b.WriteString("  mutable_messages")
		}
		b.WriteByte('\n')
	}
	for _, r := range a.Rules {
		channels := "all channels"
		if r.Channels != "" {
			channels = "channels " + r.Channels
		}
		fmt.Fprintf(b, "  rule %s  %s of %s → %s (%s)\n", r.ID, r.Source, channels, redactURL(r.Target.URL), r.Target.summary())
	}
}

// summary is how requests to the target look.
func (t *Target) summary() string {
	parts := []string{t.Format}
	if t.Encoding != "" {
		parts = append(parts, t.Encoding)
	}
	for _, p := range []struct {
		format string
		value  any
	}{{"timeout %v", t.Timeout}, {"%v lanes", t.Lanes}, {"batches of %v", t.BatchSize}, {"linger %v", t.Linger}} {
		if v := reflect.ValueOf(p.value); !v.IsNil() { // nil only in what was put together by code
			parts = append(parts, fmt.Sprintf(p.format, v.Elem()))
		}
	}
	switch n := len(t.Secrets); {
	case n == 1:
		parts = append(parts, "signed")
	case n > 1:
		parts = append(parts, fmt.Sprintf("signed with %d secrets", n))
	}
	if t.TLS.CertFile != "" {
		parts = append(parts, "certificate "+t.TLS.CertFile)
	}
	if t.TLS.InsecureSkipVerify {
		parts = append(parts, "TRUSTS ANYBODY")
	}
	return strings.Join(parts, ", ")
}
