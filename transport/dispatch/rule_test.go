package dispatch

import (
	"strings"
	"testing"
	"time"
)

func TestNewRefusesBadRules(t *testing.T) {
	for _, test := range []struct {
		name string
		bend func(*Rule)
		want string
	}{
		{"no id", func(r *Rule) { r.ID = "" }, "no id"},
		{"no app", func(r *Rule) { r.App = "" }, "no app"},
		{"source", func(r *Rule) { r.Source = "channel.message" }, `source "channel.message" has the format "ably" only`},
		{"unknown source", func(r *Rule) { r.Source = "channel.x" }, `source "channel.x" is unknown (want one of channel.state, channel.lifecycle`},
		{"format", func(r *Rule) { r.Format = "xml" }, `format "xml" is unknown`},
		{"timeout", func(r *Rule) { r.Timeout = 4 * time.Second }, "less than the lease of 4s"},
		{"negative timeout", func(r *Rule) { r.Timeout = -1 }, "more than 0"},
		{"scheme", func(r *Rule) { r.URL = "ftp://x/" }, "not an http, https, grpc or grpcs URL"},
		{"no host", func(r *Rule) { r.URL = "http:///x" }, "not an http, https, grpc or grpcs URL"},
		{"password", func(r *Rule) { r.URL = "ftp://u:geheim@x/" }, "u:xxxxx@"},
		{"header name", func(r *Rule) { r.Headers = map[string]string{"a b": "c"} }, `header name "a b"`},
		{"header value", func(r *Rule) { r.Headers = map[string]string{"a": "b\r\nc"} }, "control characters"},
		{"header that is ours", func(r *Rule) { r.Headers = map[string]string{"webhook-ID": "x"} }, `header "webhook-ID" is set by the dispatcher itself`},
		{"short secret", func(r *Rule) { r.Secrets = []string{newSecret, "geheim"} }, "secret 2 stands for a key of 6 bytes"},
	} {
		r := rule()
		test.bend(&r)
		_, err := New(Config{Log: newFakeLog(), Rules: []Rule{r}})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: err = %v, want %q", test.name, err, test.want)
		}
	}
	if _, err := New(Config{Log: newFakeLog(), Rules: []Rule{
		{ID: "b/c", App: "a", URL: "http://x/"}, {ID: "c", App: "a/b", URL: "http://x/"},
	}}); err == nil || !strings.Contains(err.Error(), `the cursor "a/b/c"`) {
		t.Errorf("two rules of one cursor: %v", err)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("no log: no error")
	}
	if _, err := New(Config{Log: newFakeLog(), Lanes: -1}); err == nil || !strings.Contains(err.Error(), "lanes -1") {
		t.Errorf("negative lanes: %v", err)
	}
}
