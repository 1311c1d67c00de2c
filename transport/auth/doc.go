// Package auth says who a client is and what it may do: API keys, tokens, capabilities, client ids, revocations. It does
// no I/O; the edge hands it the text a client offered and sends the errors it gives.
//
// Types in reading order: Key and Keys, what a node knows; Capability and OpSet, what a key may do where; Credentials,
// what a client offers; Identity, who it then is; Token (token.go, jwt.go), what a token says; TokenRequest, how one is
// asked for; Revocation, how it ends before its time.
//
// Tokens are stateless: every node that knows a key reads the tokens of that key, and none is written down. What a token
// allows is judged at use, against the key as it then is.
//
// Everything is safe for concurrent use. Keys.Replace exchanges the keys at once; identities given before keep the
// capability they were given, so a change of a key's capability does not touch live connections. Secrets are compared
// in constant time and are never part of an error.
//
// A capability is an object of resources with operations. A resource is split at ":": a "*" at its end matches one or
// more segments, one elsewhere exactly one segment, and within a segment it is a letter. "[meta]x", "[queue]x" and
// "[filter]x" match only names of their kind; "[*]" matches every kind.
package auth
