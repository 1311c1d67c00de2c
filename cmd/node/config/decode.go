package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decoder fills a Config from the plain values of the merged sources. It takes a value only as what it is: a number is
// not text and text is not a list, so that a slip in the file is named instead of understood in some way.
type decoder struct{ *problems }

// section fills a struct from a map; keys without a field are problems.
func (d decoder) section(path string, in map[string]any, out reflect.Value) {
	fields := map[string]int{}
	for i := range out.NumField() {
		fields[out.Type().Field(i).Tag.Get("koanf")] = i
	}
	for _, key := range slices.Sorted(maps.Keys(in)) {
		if _, ok := fields[key]; !ok {
			d.unknown(join(path, key), slices.Sorted(maps.Keys(fields)))
		}
	}
	for i := range out.NumField() {
		key := out.Type().Field(i).Tag.Get("koanf")
		if v, ok := in[key]; ok && v != nil { // "join:" with nothing behind it is the same as no join at all
			d.value(join(path, key), v, out.Field(i))
		}
	}
}

// unknown notes a key that is not among those known at its place. Where no key is like it, it is not a slip of the pen but
// of another product, or of a place that does not have it: all that could stand there help more than the nearest.
func (d decoder) unknown(path string, here []string) {
	near := nearest(withoutIndexes(path), knownPaths())
	parent, key := splitPath(path)
	nearParent, leaf := splitPath(near)
	if !alike(key, leaf) {
		d.add(path, "unknown key; known in this place: %s", strings.Join(here, ", "))
		return
	}
	if nearParent == withoutIndexes(parent) {
		d.meant[join(parent, leaf)] = true
	}
	d.add(path, "unknown key; the nearest known one is %s", near)
}

// withoutIndexes turns apps[3].keys[0].x into apps[].keys[].x.
func withoutIndexes(path string) string {
	var b strings.Builder
	skip := false
	for _, r := range path {
		if r == ']' {
			skip = false
		}
		if !skip {
			b.WriteRune(r)
		}
		if r == '[' {
			skip = true
		}
	}
	return b.String()
}

func (d decoder) value(path string, v any, out reflect.Value) {
	if out.Type() == durationType {
		d.duration(path, v, out)
		return
	}
	switch out.Kind() {
	case reflect.Pointer:
		elem := reflect.New(out.Type().Elem())
		before := len(d.list)
		if d.value(path, v, elem.Elem()); len(d.list) == before {
			out.Set(elem)
		}
	case reflect.Struct:
		if m, ok := v.(map[string]any); ok {
			d.section(path, m, out)
			return
		}
		d.wrongType(path, v, "a section with keys below it")
	case reflect.Slice:
		d.items(path, v, out)
	case reflect.Map:
		d.mapping(path, v, out)
	case reflect.String:
		if s, ok := v.(string); ok {
			out.SetString(s)
			return
		}
		d.wrongType(path, v, "text; put it in quotes")
	case reflect.Int:
		if n, ok := v.(int); ok {
			out.SetInt(int64(n))
			return
		}
		d.wrongType(path, v, "a whole number without quotes")
	case reflect.Bool:
		if b, ok := v.(bool); ok {
			out.SetBool(b)
			return
		}
		d.wrongType(path, v, "true or false without quotes")
	default:
		panic("config: no decoding for " + out.Type().String())
	}
}

func (d decoder) duration(path string, v any, out reflect.Value) {
	const want = "a duration with its unit, such as 500ms, 5s or 2m"
	s, ok := v.(string)
	if !ok {
		if n, isInt := v.(int); isInt && n == 0 {
			out.SetInt(0) // zero needs no unit
			return
		}
		d.wrongType(path, v, want)
		return
	}
	dur, err := time.ParseDuration(s)
	if err != nil {
		d.add(path, "%q is not %s", s, want)
		return
	}
	out.SetInt(int64(dur))
}

func (d decoder) items(path string, v any, out reflect.Value) {
	in, ok := v.([]any)
	if !ok {
		d.wrongType(path, v, "a list, such as [a, b], or one line with a dash for each")
		return
	}
	list := reflect.MakeSlice(out.Type(), len(in), len(in))
	for i, item := range in {
		at := fmt.Sprintf("%s[%d]", path, i)
		if item == nil {
			d.add(at, "is empty; remove the entry or fill it")
			continue
		}
		d.value(at, item, list.Index(i))
	}
	out.Set(list)
}

func (d decoder) mapping(path string, v any, out reflect.Value) {
	in, ok := v.(map[string]any)
	if !ok {
		d.wrongType(path, v, "a map, such as {name: value}")
		return
	}
	m := reflect.MakeMapWithSize(out.Type(), len(in))
	for _, key := range slices.Sorted(maps.Keys(in)) {
		at := fmt.Sprintf("%s[%s]", path, key)
		if in[key] == nil {
			d.add(at, "is empty; remove the entry or fill it")
			continue
		}
		elem := reflect.New(out.Type().Elem()).Elem()
		d.value(at, in[key], elem)
		m.SetMapIndex(reflect.ValueOf(key), elem)
	}
	out.Set(m)
}

func (d decoder) wrongType(path string, v any, want string) {
	d.add(path, "%s, but it must be %s", describe(path, v), want)
}

// describe says what a value of the file is. Values that may hold a secret are not repeated.
func describe(path string, v any) string {
	switch v := v.(type) {
	case string:
		if isSecret(path) {
			return "is text"
		}
		return fmt.Sprintf("%q is text", v)
	case int, float64, uint64, int64:
		return fmt.Sprintf("%v is a number", v)
	case bool:
		return fmt.Sprintf("%v is true or false", v)
	case []any:
		return "is a list"
	case map[string]any:
		return "is a map"
	case time.Time:
		return fmt.Sprintf("%s is a date", v.Format(time.DateOnly))
	default:
		return fmt.Sprintf("is of type %T", v)
	}
}

func isSecret(path string) bool {
	return strings.Contains(path, ".keys[") || strings.Contains(path, ".keys") || strings.Contains(path, ".headers[") || strings.Contains(path, ".secrets") || strings.HasPrefix(path, "admin.tokens")
}

// parseText turns the text of a flag or variable into what the file would hold for a setting.
func parseText(t reflect.Type, text string) (any, error) {
	switch kindName(t) {
	case "number":
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("%q is not a whole number", text)
		}
		return n, nil
	case "true|false":
		switch strings.ToLower(strings.TrimSpace(text)) {
		case "true", "1", "yes", "on":
			return true, nil
		case "false", "0", "no", "off":
			return false, nil
		}
		return nil, fmt.Errorf("%q is neither true nor false", text)
	case "list":
		list := []any{}
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		return list, nil
	case "duration":
		return strings.TrimSpace(text), nil
	default:
		return text, nil
	}
}
