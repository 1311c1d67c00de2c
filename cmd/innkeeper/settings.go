package main

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	"innkeeper/cmd/node/config"
)

// settingFlags makes one flag of each setting that take accepts; base holds the defaults. The parser learns flags from the fields of a struct, so
// the struct is made from the list of settings, which stays the one source.
func settingFlags(base config.Config, take func(path string) bool) kong.Plugins {
	var fields []reflect.StructField
	for i, s := range config.SettingsOver(base) {
		if !take(s.Path) {
			continue
		}
		help := s.Help
		if s.Default != "" {
			help += " Default: " + s.Default + "."
		}
		section, _, _ := strings.Cut(s.Path, ".")
		fields = append(fields, reflect.StructField{
			Name: fmt.Sprintf("Setting%d", i),
			Type: reflect.TypeFor[*string](), // nil: not given
			Tag:  reflect.StructTag(fmt.Sprintf("name:%q help:%q placeholder:%q group:%q", s.Path, help, strings.ToUpper(s.Kind), section)),
		})
	}
	return kong.Plugins{reflect.New(reflect.StructOf(fields)).Interface()}
}

// given collects the settings that were given as flags: path → text.
func given(flags kong.Plugins) map[string]string {
	values := map[string]string{}
	for _, plugin := range flags {
		v := reflect.ValueOf(plugin).Elem()
		for i := range v.NumField() {
			if p := v.Field(i).Interface().(*string); p != nil {
				values[v.Type().Field(i).Tag.Get("name")] = *p
			}
		}
	}
	return values
}

func settingGroups() []kong.Group {
	var groups []kong.Group
	seen := map[string]bool{}
	for _, s := range config.Settings() {
		section, _, _ := strings.Cut(s.Path, ".")
		if !seen[section] {
			seen[section] = true
			groups = append(groups, kong.Group{
				Key:   section,
				Title: fmt.Sprintf("Settings of %s (also in the file, or as variables such as %s):", section, s.Env),
			})
		}
	}
	return groups
}

// variable looks a variable up.
func (w world) variable(name string) string {
	for _, entry := range w.environ {
		if n, v, ok := strings.Cut(entry, "="); ok && n == name {
			return v
		}
	}
	return ""
}
