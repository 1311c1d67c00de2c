package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// document is openapi.json as a program sees it.
func document(t *testing.T) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(OpenAPI, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// stub does every operation of the document.
func stub(t *testing.T, do Op) map[string]Op {
	t.Helper()
	list, err := routes(OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	ops := map[string]Op{}
	for _, r := range list {
		if ops[r.id] != nil {
			t.Errorf("two operations are called %q", r.id)
		}
		ops[r.id] = do
	}
	return ops
}

func serve(t *testing.T, c Config, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func local(method, target, body string) *http.Request {
	r := httptest.NewRequest(method, "http://127.0.0.1:8180"+target, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:50000"
	return r
}

func TestEveryOperationIsServed(t *testing.T) {
	var done string
	ops := stub(t, nil)
	for id := range ops {
		ops[id] = func(*Request) (any, error) { done = id; return map[string]any{}, nil }
	}
	list, _ := routes(OpenAPI)
	for _, r := range list {
		path := regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(r.path, "x")
		done = ""
		w := serve(t, Config{Access: &Access{}, Ops: ops}, local(r.method, Prefix+path, "{}"))
		if w.Code != 200 || done != r.id {
			t.Errorf("%s %s: %d by %q, want %q", r.method, r.path, w.Code, done, r.id)
		}
		if w := serve(t, Config{Access: &Access{}, Ops: ops}, local("TRACE", Prefix+path, "")); w.Code != 405 || w.Header().Get("Allow") == "" {
			t.Errorf("TRACE %s: %d, Allow %q", r.path, w.Code, w.Header().Get("Allow"))
		}
	}
	if w := serve(t, Config{Access: &Access{}, Ops: ops}, local("GET", "/openapi.json", "")); w.Code != 200 || !json.Valid(w.Body.Bytes()) {
		t.Errorf("/openapi.json: %d", w.Code)
	}
	delete(ops, "me")
	if _, err := New(Config{Access: &Access{}, Ops: ops}); err == nil || !strings.Contains(err.Error(), `"me"`) {
		t.Errorf("an operation that nobody does: %v", err)
	}
	ops["me"], ops["more"] = ops["listApps"], ops["listApps"]
	if _, err := New(Config{Access: &Access{}, Ops: ops}); err == nil || !strings.Contains(err.Error(), `"more"`) {
		t.Errorf("an operation that is not in the document: %v", err)
	}
}

// TestDocumentIsWhole checks what tools that read the document rely on: every reference leads somewhere, parameters of paths
// are described, examples are what their schemas say.
func TestDocumentIsWhole(t *testing.T) {
	doc := document(t)
	if doc["openapi"] != "3.1.0" {
		t.Errorf("openapi %v", doc["openapi"])
	}
	examples := 0
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case []any:
			for i, item := range v {
				walk(fmt.Sprintf("%s[%d]", at, i), item)
			}
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				if _, err := resolve(doc, ref); err != nil {
					t.Errorf("%s: %v", at, err)
				}
			}
			if example, ok := v["example"]; ok {
				examples++
				if err := conforms(doc, v["schema"], example, "example"); err != nil {
					t.Errorf("%s: %v", at, err)
				}
			}
			for key, item := range v {
				walk(at+"/"+key, item)
			}
		}
	}
	walk("", doc)
	if examples < 30 {
		t.Errorf("%d examples only", examples)
	}
	for path, item := range doc["paths"].(map[string]any) {
		var named []string
		parameters, _ := item.(map[string]any)["parameters"].([]any)
		for _, p := range parameters {
			named = append(named, p.(map[string]any)["name"].(string))
		}
		var used []string
		for _, m := range regexp.MustCompile(`\{([a-z]+)\}`).FindAllStringSubmatch(path, -1) {
			used = append(used, m[1])
		}
		if !slices.Equal(named, used) {
			t.Errorf("%s describes the parameters %q", path, named)
		}
	}
}

func resolve(doc map[string]any, ref string) (any, error) {
	var at any = doc
	for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		m, ok := at.(map[string]any)
		if !ok || m[part] == nil {
			return nil, fmt.Errorf("%s leads nowhere", ref)
		}
		at = m[part]
	}
	return at, nil
}

// conforms checks a value against a schema, as far as openapi.json uses JSON Schema.
func conforms(doc map[string]any, schema, v any, at string) error {
	s, ok := schema.(map[string]any)
	if !ok {
		return fmt.Errorf("%s: no schema", at)
	}
	if ref, ok := s["$ref"].(string); ok {
		to, err := resolve(doc, ref)
		if err != nil {
			return err
		}
		return conforms(doc, to, v, at)
	}
	if list, ok := s["oneOf"].([]any); ok {
		var errs []error
		for _, one := range list {
			if err := conforms(doc, one, v, at); err != nil {
				errs = append(errs, err)
			}
		}
		if len(errs) != len(list)-1 {
			return fmt.Errorf("%s: %d of %d alternatives fit: %w", at, len(list)-len(errs), len(list), errors.Join(errs...))
		}
		return nil
	}
	if enum, ok := s["enum"].([]any); ok && !slices.Contains(enum, v) {
		return fmt.Errorf("%s: %v is none of %v", at, v, enum)
	}
	types, _ := s["type"].([]any)
	if one, ok := s["type"].(string); ok {
		types = []any{one}
	}
	if len(types) > 0 && !slices.ContainsFunc(types, func(t any) bool { return is(v, t.(string)) }) {
		return fmt.Errorf("%s: %v is not of type %v", at, v, types)
	}
	switch v := v.(type) {
	case string:
		if p, ok := s["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(v) {
			return fmt.Errorf("%s: %q does not match %s", at, v, p)
		}
	case float64:
		if least, ok := s["minimum"].(float64); ok && v < least {
			return fmt.Errorf("%s: %v is less than %v", at, v, least)
		}
	case []any:
		for i, item := range v {
			if err := conforms(doc, s["items"], item, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case map[string]any:
		required, _ := s["required"].([]any)
		for _, key := range required {
			if _, ok := v[key.(string)]; !ok {
				return fmt.Errorf("%s: %s is missing", at, key)
			}
		}
		properties, _ := s["properties"].(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(v)) {
			sub := properties[key]
			if sub == nil {
				if sub = s["additionalProperties"]; sub == nil || sub == false {
					return fmt.Errorf("%s: %s is not described", at, key)
				}
			}
			if err := conforms(doc, sub, v[key], at+"."+key); err != nil {
				return err
			}
		}
	}
	return nil
}

func is(v any, typ string) bool {
	switch typ {
	case "null":
		return v == nil
	case "string":
		_, ok := v.(string)
		return ok
	case "boolean":
		_, ok := v.(bool)
		return ok
	case "number":
		_, ok := v.(float64)
		return ok
	case "integer":
		f, ok := v.(float64)
		return ok && f == math.Trunc(f)
	case "array":
		_, ok := v.([]any)
		return ok
	case "object":
		_, ok := v.(map[string]any)
		return ok
	}
	return false
}

func TestWhoIsLetIn(t *testing.T) {
	const token = "a-token-that-is-long"
	with := &Access{Tokens: []string{"another-long-token", token}}
	for _, c := range []struct {
		name   string
		access *Access
		bend   func(*http.Request)
		want   int
	}{
		{"this machine", &Access{}, func(*http.Request) {}, 200},
		{"this machine by name", &Access{}, func(r *http.Request) { r.Host = "localhost:8180" }, 200},
		{"this machine, IPv6", &Access{}, func(r *http.Request) { r.RemoteAddr, r.Host = "[::1]:4000", "[::1]:8180" }, 200},
		{"another machine", &Access{}, func(r *http.Request) { r.RemoteAddr = "10.0.0.5:4000" }, 403},
		{"a page of a name that leads here", &Access{}, func(r *http.Request) { r.Host = "evil.example" }, 403},
		{"a proxy", &Access{}, func(r *http.Request) { r.Header.Set("X-Forwarded-For", "10.0.0.5") }, 403},
		{"no token", with, func(*http.Request) {}, 401},
		{"wrong token", with, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token+"x") }, 401},
		{"another scheme", with, func(r *http.Request) { r.SetBasicAuth("a", token) }, 401},
		{"token", with, func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token); r.RemoteAddr = "10.0.0.5:4000" }, 200},
		{"a page of another origin", with, func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+token)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		}, 403},
	} {
		r := local("POST", Prefix+"/accounts/default/apps", "{}")
		c.bend(r)
		ran := false
		w := serve(t, Config{Access: c.access, Ops: stub(t, func(*Request) (any, error) { ran = true; return map[string]any{}, nil })}, r)
		if w.Code != c.want || ran != (c.want == 200) {
			t.Errorf("%s: %d, done %v; want %d: %s", c.name, w.Code, ran, c.want, w.Body)
		}
		if w.Code != 200 && !strings.Contains(w.Body.String(), `"statusCode": `) {
			t.Errorf("%s: the answer is no error: %s", c.name, w.Body)
		}
	}
}

func TestGuardedEndpoints(t *testing.T) {
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) })
	h := (&Access{Tokens: []string{"a-token-that-is-long"}}).Guard(next)
	for target, want := range map[string]int{
		"GET /healthz": 200, "GET /metrics": 200, "GET /cluster": 200, "GET /live": 200,
		"GET /backup": 401, "GET /debug/pprof/": 401, "POST /cluster/leader/transfer": 401, "POST /rules/a/b/replay": 401,
	} {
		method, path, _ := strings.Cut(target, " ")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, local(method, path, ""))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", target, w.Code, want)
		}
	}
}

func TestBadBodies(t *testing.T) {
	decode := func(r *Request) (any, error) {
		var in struct {
			Name *string
			N    *int
		}
		if err := r.Decode(&in); err != nil {
			return nil, err
		}
		return Created(in), nil
	}
	for _, c := range []struct {
		body, contentType string
		want              int
		says              string
	}{
		{`{"name":"x"}`, "application/json", 201, ""},
		{`{"name":"x"}`, "", 201, ""},
		{``, "", 400, "JSON object"},
		{`[]`, "", 400, "JSON object"},
		{`null`, "", 400, "JSON object"},
		{`{"name":"x"} {}`, "", 400, "something behind it"},
		{`{"name":"x","color":1}`, "", 400, `"field": "color"`},
		{`{"name":5}`, "", 400, `it must be text`},
		{`{"name":"x"}`, "text/plain", 415, "text/plain"},
		{`{"name":"` + strings.Repeat("x", bodyMax) + `"}`, "", 413, "262144"},
	} {
		r := local("POST", Prefix+"/accounts/default/apps", c.body)
		r.Header.Set("Content-Type", c.contentType)
		if c.contentType == "" {
			r.Header.Del("Content-Type")
		}
		w := serve(t, Config{Access: &Access{}, Ops: stub(t, decode)}, r)
		if w.Code != c.want || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%.40s (%s): %d %s; want %d with %s", c.body, c.contentType, w.Code, w.Body, c.want, c.says)
		}
	}
}
