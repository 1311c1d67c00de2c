package dashboard

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
)

func ask(h http.Handler, method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestEveryFileIsServed(t *testing.T) {
	h := New("/dashboard/")
	err := fs.WalkDir(static, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		w := ask(h, "GET", "/dashboard/"+strings.TrimPrefix(name, "static/"))
		want, _ := static.ReadFile(name)
		if w.Code != 200 || w.Body.String() != string(want) || w.Header().Get("Content-Type") != types[path.Ext(name)] {
			t.Errorf("%s is answered %d, %s, %d bytes of %d", name, w.Code, w.Header().Get("Content-Type"), w.Body.Len(), len(want))
		}
		if again := ask(h, "GET", "/dashboard/"+strings.TrimPrefix(name, "static/"), "If-None-Match", w.Header().Get("ETag")); again.Code != http.StatusNotModified {
			t.Errorf("%s is sent again (%d) to who has it", name, again.Code)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if w := ask(h, "GET", "/dashboard/"); !strings.Contains(w.Body.String(), "<title>Innkeeper") {
		t.Errorf("the page is %q", w.Body)
	}
}

func TestNothingElseIsServed(t *testing.T) {
	h := New("/dashboard/")
	for _, target := range []string{"/dashboard/none.js", "/dashboard/static/app.js", "/dashboard/../dashboard.go", "/dashboard/index.html/"} {
		if w := ask(h, "GET", target); w.Code != http.StatusNotFound {
			t.Errorf("%s is answered %d", target, w.Code)
		}
	}
	if w := ask(h, "POST", "/dashboard/"); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST is answered %d", w.Code)
	}
}

func TestPolicy(t *testing.T) {
	for _, target := range []string{"/dashboard/", "/dashboard/app.js", "/dashboard/none"} {
		head := ask(New("/dashboard/"), "GET", target).Header()
		got := head.Get("Content-Security-Policy")
		if !strings.HasPrefix(got, "default-src 'none'; ") || strings.Contains(got, "unsafe") || strings.Contains(got, "*") {
			t.Errorf("%s has the policy %q", target, got)
		}
		if head.Get("X-Content-Type-Options") != "nosniff" || head.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s lacks headers: %v", target, head)
		}
	}
}

// TestFilesKeepToThePolicy finds what the policy would block, and what could make markup of a name.
func TestFilesKeepToThePolicy(t *testing.T) {
	bad := map[string]*regexp.Regexp{
		".html": regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|<script(?:\s[^>]*)?>[^<]|(?:src|href)="(?:https?:|//|data:|javascript:)`),
		".js":   regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://[^w]|import\(`),
		".css":  regexp.MustCompile(`(?i)@import|url\(`),
		".svg":  regexp.MustCompile(`(?i)<script|<style|\son[a-z]+=|href=`),
	}
	err := fs.WalkDir(static, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, _ := static.ReadFile(name)
		if found := bad[path.Ext(name)].Find(body); found != nil {
			t.Errorf("%s has %q", name, found)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for ext, text := range map[string]string{".html": `<p onclick="x">`, ".js": "a.innerHTML = b", ".css": "url(x)", ".svg": "<script>"} {
		if !bad[ext].MatchString(text) {
			t.Errorf("the search for %s finds nothing in %q", ext, text)
		}
	}
}

func TestWelcome(t *testing.T) {
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	h := Welcome("/dashboard/", next)
	const browser = "text/html,application/xhtml+xml,*/*;q=0.8"
	for _, test := range []struct {
		method, target, accept string
		code                   int
	}{
		{"GET", "/", browser, http.StatusFound},
		{"GET", "/", "application/json", http.StatusTeapot},
		{"GET", "/", "*/*", http.StatusTeapot},
		{"GET", "/", "", http.StatusTeapot},
		{"POST", "/", browser, http.StatusTeapot},
		{"GET", "/cluster", browser, http.StatusTeapot},
	} {
		w := ask(h, test.method, test.target, "Accept", test.accept)
		if w.Code != test.code {
			t.Errorf("%s %s for %q is answered %d, want %d", test.method, test.target, test.accept, w.Code, test.code)
		}
		if test.target == "/" && w.Header().Get("Vary") != "Accept" {
			t.Errorf("%s / for %q may be kept for another reader", test.method, test.accept)
		}
		if w.Code == http.StatusFound && w.Header().Get("Location") != "/dashboard/" {
			t.Errorf("sent to %q", w.Header().Get("Location"))
		}
	}
}
