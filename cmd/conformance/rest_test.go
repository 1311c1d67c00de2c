package conformance

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// reply is what a request was answered with.
type reply struct {
	status int
	header http.Header
	raw    []byte
	body   any
}

func (r *reply) obj() m { o, _ := r.body.(m); return o }

func (r *reply) list() (list []m) {
	all, _ := r.body.([]any)
	for _, v := range all {
		o, _ := v.(m)
		list = append(list, o)
	}
	return list
}

// mediaTypes are the content types of the formats.
var mediaTypes = map[string]string{"json": "application/json", "msgpack": "application/x-msgpack"}

// rest sends a request with the app's first key, in the env's format both ways. headers are "Name: value"; without a
// value the header is left out. body is nil, bytes as they are, or a value to encode.
func (e *env) rest(node int, method, path string, body any, headers ...string) *reply {
	var b []byte
	switch v := body.(type) {
	case nil:
	case []byte:
		b = v
	case string:
		b = []byte(v)
	default:
		b = encode(e.format, v)
	}
	req, err := http.NewRequest(method, "http://"+e.at(node)+path, bytes.NewReader(b))
	if err != nil {
		e.fatalf("%v", err)
	}
	req.Header.Set("Authorization", basic(e.key(keyAll)))
	req.Header.Set("Accept", mediaTypes[e.format])
	req.Header.Set("X-Ably-Version", "6")
	if body != nil {
		req.Header.Set("Content-Type", mediaTypes[e.format])
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ":")
		if value = strings.TrimSpace(value); value == "" {
			req.Header.Del(name)
		} else if name == "Host" {
			req.Host = value
		} else {
			req.Header.Set(name, value)
		}
	}
	res, err := web(e.net.Host(e.ownIP())).Do(req)
	if err != nil {
		e.fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	r := &reply{status: res.StatusCode, header: res.Header}
	if r.raw, err = io.ReadAll(res.Body); err != nil {
		e.fatalf("%s %s: %v", method, path, err)
	}
	format := "json"
	if res.Header.Get("Content-Type") == mediaTypes["msgpack"] {
		format = "msgpack"
	}
	if len(r.raw) > 0 && method != http.MethodHead {
		if r.body, err = decode(format, r.raw); err != nil {
			e.fatalf("%s %s: %v", method, path, err)
		}
	}
	return r
}

// get reads what has to be there.
func (e *env) get(node int, path string, headers ...string) *reply {
	r := e.rest(node, http.MethodGet, path, nil, headers...)
	if r.status != http.StatusOK {
		e.fatalf("GET %s: %d %s", path, r.status, show(r.body))
	}
	return r
}

// post sends what has to be taken.
func (e *env) post(node int, path string, body any, headers ...string) *reply {
	r := e.rest(node, http.MethodPost, path, body, headers...)
	if r.status != http.StatusCreated {
		e.fatalf("POST %s: %d %s", path, r.status, show(r.body))
	}
	return r
}

// refuses checks that a reply is an error, in the body as in the headers.
func (e *env) refuses(r *reply, code, status int64) {
	err := r.obj().obj("error")
	if int64(r.status) != status || err.int("code") != code || err.int("statusCode") != status || err.str("message") == "" {
		e.fatalf("answered %d %s, want %d with status %d", r.status, show(r.body), code, status)
	}
	if got := r.header.Get("X-Ably-Errorcode"); got != number(int(code)) || r.header.Get("X-Ably-Errormessage") == "" {
		e.fatalf("the headers of the error are %v", r.header)
	}
	if got := r.header.Get("Content-Type"); got != mediaTypes["json"] && got != mediaTypes["msgpack"] {
		e.fatalf("the content type of the error is %q", got)
	}
}

var linkForm = regexp.MustCompile(`^<\./(\w+)\?([^,>]*)>; rel="(\w+)"$`)

// links are the Link headers of a page, one per line: relation → query, as ably-js asks for it.
func (e *env) links(r *reply, last string) map[string]string {
	found := map[string]string{}
	for _, line := range r.header.Values("Link") {
		part := linkForm.FindStringSubmatch(line)
		if part == nil || part[1] != last || strings.Contains(part[2], "//") || strings.Contains(part[2], "key=") || strings.Contains(part[2], "access") {
			e.fatalf("the link %q has not the form ./%s?… that SDKs read", line, last)
		}
		found[part[3]] = e.resent(part[2])
	}
	if found["first"] == "" {
		e.fatalf("there is no link first in %q", r.header.Values("Link"))
	}
	return found
}

// resent is the query of a link after ably-js has taken it apart with decodeURIComponent, for which a + is no space, and put
// it together again.
func (e *env) resent(query string) string {
	parts := strings.Split(query, "&")
	for i, part := range parts {
		key, value, _ := strings.Cut(part, "=")
		text, err := url.PathUnescape(value)
		if err != nil {
			e.fatalf("the query %q of a link: %v", query, err)
		}
		parts[i] = key + "=" + url.QueryEscape(text)
	}
	return strings.Join(parts, "&")
}

// pages reads all pages that begin at path?query, each from another node, and returns their items.
func (e *env) pages(path, query string, headers ...string) (items []any, pages int) {
	last := path[strings.LastIndex(path, "/")+1:]
	for more := true; more; pages++ {
		r := e.get(pages, path+"?"+query, headers...)
		list, ok := r.body.([]any)
		if !ok {
			e.fatalf("a page is %s", show(r.body))
		}
		items = append(items, list...)
		query, more = e.links(r, last)["next"]
		if pages > 1000 {
			e.fatalf("the pages never end")
		}
	}
	return items, pages
}

func channelPath(name string) string { return "/channels/" + url.PathEscape(name) }

func basic(key string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(key))
}

func bearer(token string) string {
	return "Bearer " + base64.StdEncoding.EncodeToString([]byte(token))
}

// jwt signs a JWT of a key. It lives for an hour unless claims say otherwise.
func (e *env) jwt(key int, claims m) string {
	k := e.app.Keys[key]
	return sign(k.KeySecret, m{"typ": "JWT", "alg": "HS256", "kid": k.KeyName}, claims)
}

func sign(secret string, header, claims m) string {
	now := time.Now().Unix()
	all := m{"iat": now, "exp": now + 3600}.but()
	for key, value := range claims {
		all[key] = value
	}
	part := func(v m) string {
		b, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	signed := part(header) + "." + part(all)
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// tokenRequest is a signed request for a token of a key; fields replace those it would have and come before signing.
func (e *env) tokenRequest(key int, fields m) m {
	k := e.app.Keys[key]
	e.names++
	r := m{"keyName": k.KeyName, "timestamp": time.Now().UnixMilli(), "nonce": "nonce-of-16-chars-" + number(e.number) + "-" + number(e.names) + e.format}
	for name, value := range fields {
		r[name] = value
	}
	var b strings.Builder
	for _, name := range []string{"keyName", "ttl", "capability", "clientId", "timestamp", "nonce"} {
		switch v := normal(r[name]).(type) {
		case string:
			b.WriteString(v)
		case int64:
			b.WriteString(number(int(v)))
		}
		b.WriteByte('\n')
	}
	h := hmac.New(sha256.New, []byte(k.KeySecret))
	h.Write([]byte(b.String()))
	if !r.has("mac") {
		r["mac"] = base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
	return r
}

// token asks for a token of a key.
func (e *env) token(key int, fields m) m {
	r := e.tokenRequest(key, fields)
	return e.post(0, "/keys/"+e.app.Keys[key].KeyName+"/requestToken", r, "Authorization:").obj()
}
