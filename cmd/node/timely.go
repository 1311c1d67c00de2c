package node

import (
	"net/http"
	"time"
)

// bodyTimeout is how long a request's body may take to arrive: the longest, of a batch, needs 300 kbit/s for it.
const bodyTimeout = time.Minute

// timely gives the bodies of requests a deadline. net/http ends it with the body, so requests may go on being answered for
// as long as they like; those without a body, as long polls and streams are, never have one. What a handler leaves
// unread net/http reads under the same deadline.
func timely(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != http.NoBody {
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // no error: these are sockets
		}
		h.ServeHTTP(w, r)
	})
}
