package config

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"time"
)

// Parts of an app that are made at run time have the keys that they have in the file. What is wrong with them is found by
// the same checks.

// ReadRule reads a rule of an app, with defaults filled in.
func ReadRule(app App, in map[string]any) (Rule, []Problem) {
	var r Rule
	problems := read(in, "apps[0].rules[0].", &r, func(c checker) {
		r.Target.fill()
		app.Rules = []Rule{r}
		c.rules("apps[0]", &app)
	})
	return r, problems
}

// ReadNamespace reads a namespace of an app, with defaults filled in.
func ReadNamespace(app App, in map[string]any) (Namespace, []Problem) {
	var n Namespace
	problems := read(in, "apps[0].namespaces[0].", &n, func(c checker) {
		if n.OccupiedBy == "" {
			n.OccupiedBy = "subscribers"
		}
		app.Namespaces = []Namespace{n}
		c.namespaces("apps[0]", &app)
	})
	return n, problems
}

// ReadCapability reads what a key may do.
func ReadCapability(in any) (capability map[string][]string, _ []Problem) {
	var k struct {
		Capability map[string][]string `koanf:"capability"`
	}
	problems := read(map[string]any{"capability": in}, "apps[0].keys[0].", &k, func(c checker) {
		c.capability("apps[0].keys[0].capability", k.Capability)
	})
	return k.Capability, problems
}

// CheckID says what is wrong with an id, "" if nothing is.
func CheckID(id string) string {
	if idForm.MatchString(id) {
		return ""
	}
	return "it must be 1 to 64 letters, digits, - or _"
}

// read decodes in and checks it. Problems are named from here on, without the path to the place in a file.
func read(in map[string]any, at string, out any, check func(checker)) []Problem {
	ps := &problems{from: map[string]string{}, meant: map[string]bool{}}
	decoder{ps}.section(strings.TrimSuffix(at, "."), plain(in).(map[string]any), reflect.ValueOf(out).Elem())
	check(checker{problems: ps, cfg: &Config{}})
	here := strings.NewReplacer(at, "", withoutIndexes(at), "")
	for i := range ps.list {
		p := &ps.list[i]
		p.Key, p.Text = here.Replace(p.Key), here.Replace(p.Text)
	}
	return ps.list
}

// plain turns what JSON decodes to into what YAML does: whole numbers are ints.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[key] = plain(item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = plain(item)
		}
		return out
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return int(n)
		}
		f, _ := v.Float64()
		return f
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int(v)
		}
	}
	return v
}

// Document is a part of a configuration as JSON holds it, without what is not set. Secrets are left out.
func Document(part any) map[string]any { return document(reflect.ValueOf(part), false) }

// Record is the same with all that is in it.
func Record(part any) map[string]any { return document(reflect.ValueOf(part), true) }

func document(v reflect.Value, secrets bool) map[string]any {
	out := map[string]any{}
	for i := range v.NumField() {
		f, key := v.Field(i), v.Type().Field(i).Tag.Get("koanf")
		if f.IsZero() || key == "" || key == "secrets" && !secrets {
			continue
		}
		if f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		switch {
		case f.Type() == durationType:
			out[key] = f.Interface().(time.Duration).String()
		case f.Kind() == reflect.Struct:
			out[key] = document(f, secrets)
		default:
			out[key] = asJSON(f)
		}
	}
	return out
}

// asJSON is a value as JSON decodes to it.
func asJSON(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = asJSON(v.Index(i))
		}
		return out
	case reflect.Map:
		out := map[string]any{}
		for _, key := range v.MapKeys() {
			out[key.String()] = asJSON(v.MapIndex(key))
		}
		return out
	}
	return v.Interface()
}
