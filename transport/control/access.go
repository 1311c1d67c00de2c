package control

import (
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Access says who may use the admin API.
type Access struct {
	// Tokens let in whoever shows one, as a Bearer token. Without tokens only this machine is let in.
	Tokens []string
	// Trusted lets everybody in where there are no tokens; for simulations.
	Trusted bool
}

// Check says who asks, or why he is not let in: an error with its status.
func (a *Access) Check(r *http.Request) (who string, err error) {
	if len(a.Tokens) == 0 {
		if a.Trusted {
			return "anybody", nil
		}
		return "loopback", checkLoopback(r)
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", &Error{Status: http.StatusUnauthorized, Code: 40101, Message: "no token: send one of admin.tokens of the node's configuration, as Authorization: Bearer TOKEN"}
	}
	given := sha256.Sum256([]byte(token))
	found := 0
	for _, known := range a.Tokens { // all of them, so that the time tells nothing
		hash := sha256.Sum256([]byte(known))
		found |= subtle.ConstantTimeCompare(given[:], hash[:])
	}
	if found == 0 {
		return "", &Error{Status: http.StatusUnauthorized, Code: 40101, Message: "the token is none of admin.tokens of the node's configuration"}
	}
	return "token", nil
}

// checkLoopback lets in who is on this machine and says so: a page that was served under another name, or a proxy that
// speaks for others, does not.
func checkLoopback(r *http.Request) error {
	const remedy = "; to use it from elsewhere set admin.tokens in the node's configuration"
	refuse := func(text string) error {
		return &Error{Status: http.StatusForbidden, Code: 40300, Message: text + remedy}
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return refuse("the control API is open to this machine only")
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return refuse("the control API is asked for by the name of this machine only, localhost or 127.0.0.1")
	}
	for _, header := range []string{"Forwarded", "X-Forwarded-For"} {
		if r.Header.Get(header) != "" {
			return refuse("the request comes through a proxy, which may speak for anybody")
		}
	}
	return nil
}

// Guard asks for a token, where there are tokens, before anything is changed or all there is is read. Health, metrics and
// pages stay open, as they are without tokens.
func (a *Access) Guard(next http.Handler) http.Handler {
	if len(a.Tokens) == 0 {
		return next
	}
	h := &handler{Config{Access: a, Logger: slog.New(slog.DiscardHandler)}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		secret := r.URL.Path == "/backup" || strings.HasPrefix(r.URL.Path, "/debug/")
		if !reads || secret {
			if _, err := a.Check(r); err != nil {
				h.fail(w, err)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}
