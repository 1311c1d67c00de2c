package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// EnvPrefix starts the name of every variable that is a setting.
const EnvPrefix = "INNKEEPER_"

// Setting is one value that can be given as a key of the file, a flag or a variable.
type Setting struct {
	Path    string // node.listen; the flag is --node.listen
	Env     string // INNKEEPER_NODE_LISTEN
	Kind    string // text, number, true|false, duration or list
	Help    string
	Default string // as it would be written, "" when none
	typ     reflect.Type
}

var (
	durationType    = reflect.TypeFor[time.Duration]()
	durationPtrType = reflect.TypeFor[*time.Duration]()
)

// Settings lists every setting that is not in the file only, in the order of the file.
func Settings() []Setting { return SettingsOver(Default()) }

// SettingsOver is the same where base holds the defaults.
func SettingsOver(base Config) []Setting {
	var list []Setting
	walk(reflect.ValueOf(base), "", func(path string, f reflect.StructField, v reflect.Value) {
		if strings.HasPrefix(path, "apps") || f.Type.Kind() == reflect.Map { // in the file only
			return
		}
		s := Setting{Path: path, Env: envName(path), Kind: kindName(f.Type), Help: f.Tag.Get("help"), Default: display(v), typ: f.Type}
		if path == "node.bootstrap_expect" {
			s.Default = "" // it follows from join
		}
		list = append(list, s)
	})
	return list
}

// walk calls fn for every leaf of a struct, depth first, in order.
func walk(v reflect.Value, prefix string, fn func(path string, f reflect.StructField, v reflect.Value)) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		path := join(prefix, f.Tag.Get("koanf"))
		if f.Type.Kind() == reflect.Struct {
			walk(v.Field(i), path, fn)
			continue
		}
		fn(path, f, v.Field(i))
	}
}

// knownPaths lists every key there is; a list is written as apps[].
func knownPaths() []string {
	var paths []string
	var visit func(t reflect.Type, prefix string)
	visit = func(t reflect.Type, prefix string) {
		for i := range t.NumField() {
			f := t.Field(i)
			path := join(prefix, f.Tag.Get("koanf"))
			paths = append(paths, path)
			switch {
			case f.Type.Kind() == reflect.Struct:
				visit(f.Type, path)
			case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
				visit(f.Type.Elem(), path+"[]")
			}
		}
	}
	visit(reflect.TypeFor[Config](), "")
	return paths
}

func join(prefix, key string) string {
	if prefix == "" {
		return key
	}
	return prefix + "." + key
}

func envName(path string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// kindName says in a user's words what a type is.
func kindName(t reflect.Type) string {
	switch {
	case t == durationType || t == durationPtrType:
		return "duration"
	case t.Kind() == reflect.Pointer:
		return kindName(t.Elem())
	case t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Int:
		return "number"
	case t.Kind() == reflect.Bool:
		return "true|false"
	case t.Kind() == reflect.Slice:
		return "list"
	default:
		return "map"
	}
}

// display writes a value as a user would.
func display(v reflect.Value) string {
	switch {
	case v.Kind() == reflect.Pointer && v.IsNil():
		return ""
	case v.Kind() == reflect.Pointer:
		return display(v.Elem())
	case v.Kind() == reflect.Slice:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = display(v.Index(i))
		}
		return strings.Join(parts, ",")
	case v.Kind() == reflect.Map && v.Len() == 0:
		return ""
	case v.Kind() == reflect.Map:
		text, _ := json.Marshal(v.Interface()) // in the order of its keys, and YAML as well
		return string(text)
	default:
		return fmt.Sprint(v.Interface())
	}
}
