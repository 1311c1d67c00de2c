// Package rest is the REST side of the Ably protocol: GET /time, POST /channels/{c}/messages, GET /channels/{c},
// GET /channels, POST /keys/{k}/requestToken and …/revokeTokens, and where it is enabled POST /apps and DELETE /apps/{a}.
// It translates between HTTP and a Backend and keeps no state of its own; channels, sockets and retries between nodes are
// the Backend's business, what a cluster agrees on about credentials an Authority's.
//
// Types in reading order: Backend, what it needs; Config; Handler, the http.Handler. A request goes through
// Handler.ServeHTTP (CORS, reply format, route), a method per route, and reply.go, where every reply and every error is
// written. Credentials are checked per request by package auth, capabilities before the Backend is asked.
//
// Routes are told apart on the escaped path by hand instead of by http.ServeMux: a channel name may hold any character,
// slashes, dots and percent signs included, and a mux redirects paths it thinks unclean. "%2F" and "/" in a name are the
// same. Where a name ends like a sub-resource ("a/messages"), the slash has to be escaped.
//
// Promises: a publish is all or none and 201 is said only after the Backend accepted it; a page of the enumeration is
// complete or refused, and its cursor stays valid through changes of the cluster; every failure has a code, in the
// headers as well as in the body. Nothing is retried here. What is refused by a busy or moving channel is 50004 or 50003
// and was not done.
//
// No goroutine is started and nothing is held between requests; a Handler is safe for concurrent use and needs no
// closing. The length of a request is bounded by Config.MaxBodyBytes, its duration by the server and the Backend.
//
// Tests: rest_test.go runs requests against a fake Backend.
package rest
