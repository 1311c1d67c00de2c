package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

// FileEnv is the variable that names the configuration file. It is not a setting itself.
const FileEnv = EnvPrefix + "CONFIG"

// TokenEnv is the variable with the token that commands show to admin APIs. Nodes pay no heed to it: it is there for
// whoever works on their machine.
const TokenEnv = EnvPrefix + "ADMIN_TOKEN"

// Load reads a configuration: defaults, below the file (path "" is none), below the variables of environ ("NAME=value",
// as from os.Environ), below the flags (path → text). Everything wrong is returned together as *Error; a file that
// cannot be read or parsed is an error of its own.
func Load(path string, environ []string, flags map[string]string) (Config, error) {
	k := koanf.New(".")
	if path != "" {
		if err := k.Load(file.Provider(path), oneDocument{yaml.Parser()}); err != nil {
			return Config{}, fileError(path, err)
		}
	}
	return merge(k, Default(), path, environ, flags)
}

// Override sets variables and flags over a configuration that was put together by code, and checks the result.
func Override(base Config, environ []string, flags map[string]string) (Config, error) {
	return merge(koanf.New("."), base, "", environ, flags)
}

// merge sets what k holds (the file), variables and flags over base.
func merge(k *koanf.Koanf, base Config, path string, environ []string, flags map[string]string) (Config, error) {
	ps := &problems{from: map[string]string{}, meant: map[string]bool{}}
	layers := overrides{problems: ps, settings: map[string]Setting{}}
	for _, s := range Settings() {
		layers.settings[s.Path] = s
	}
	if err := errors.Join(layers.env(k, environ), layers.flags(k, flags)); err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}

	cfg := base
	decoder{ps}.section("", k.Raw(), reflect.ValueOf(&cfg).Elem())
	fillLists(&cfg)
	if k.Exists("node.join") && !k.Exists("node.bootstrap_expect") {
		cfg.Node.BootstrapExpect = cfg.Node.expect()
	}
	checker{problems: ps, cfg: &cfg}.all()
	if len(ps.list) > 0 {
		return Config{}, &Error{File: path, Problems: ps.list}
	}
	return cfg, nil
}

// Validate checks a configuration that was put together by code. Unlike Load it sets no defaults.
func (cfg Config) Validate() error {
	ps := &problems{}
	checker{problems: ps, cfg: &cfg}.all()
	if len(ps.list) > 0 {
		return &Error{Problems: ps.list}
	}
	return nil
}

func fileError(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("configuration %s: there is no such file; check the path, or start from docs/innkeeper.yaml", path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("configuration %s: may not be read by this user; check the owner and mode of the file", path)
	}
	if e, ok := errors.AsType[*secondDocument](err); ok {
		return fmt.Errorf("configuration %s: %w", path, e)
	}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.Contains(text, "cannot unmarshal") && strings.Contains(text, "into map") {
		text = "the file must be a map of sections such as node: and apps:"
	}
	return fmt.Errorf("configuration %s: not valid YAML: %s", path, text)
}

// overrides are the sources that hold text: variables and flags.
type overrides struct {
	*problems
	settings map[string]Setting
}

func (o overrides) env(k *koanf.Koanf, environ []string) error {
	byName := map[string]Setting{}
	for _, s := range o.settings {
		byName[s.Env] = s
	}
	return k.Load(env.Provider(".", env.Opt{
		Prefix:      EnvPrefix,
		EnvironFunc: func() []string { return slices.Sorted(slices.Values(environ)) },
		TransformFunc: func(name, text string) (string, any) {
			s, ok := byName[name]
			if !ok {
				o.unknownVariable(name, slices.Sorted(maps.Keys(byName)))
				return "", nil
			}
			return o.take(s, "variable "+name, text)
		},
	}), nil)
}

func (o overrides) flags(k *koanf.Koanf, flags map[string]string) error {
	values := map[string]any{}
	for _, path := range slices.Sorted(maps.Keys(flags)) {
		s, ok := o.settings[path]
		if !ok {
			o.add(path, "unknown flag; the nearest known one is --%s", nearest(path, slices.Sorted(maps.Keys(o.settings))))
			continue
		}
		if key, v := o.take(s, "flag --"+path, flags[path]); key != "" {
			values[key] = v
		}
	}
	return k.Load(confmap.Provider(values, "."), nil)
}

// take turns one text into a value; "" for the key means that there is none to set.
func (o overrides) take(s Setting, from, text string) (string, any) {
	v, err := parseText(s.typ, text)
	o.from[s.Path] = from
	if err != nil {
		o.add(s.Path, "%v", err)
		return "", nil
	}
	return s.Path, v
}

// serviceLink matches the variables that container platforms set for a service called "innkeeper". They are no
// setting of ours and must not keep a node from starting.
var serviceLink = regexp.MustCompile(`^INNKEEPER_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?)$`)

func (o overrides) unknownVariable(name string, known []string) {
	if name == FileEnv || name == TokenEnv || serviceLink.MatchString(name) {
		return
	}
	if strings.HasPrefix(name, EnvPrefix+"APPS") {
		o.add(name, "unknown variable; apps, with their keys, namespaces and rules, are set in the file only")
		return
	}
	o.add(name, "unknown variable; the nearest known one is %s", nearest(name, known))
}
