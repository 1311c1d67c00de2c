package main

import (
	"cmp"
	"net/http"

	"innkeeper/cmd/node/config"
)

// operatorFlags are what commands take that nodes with admin.tokens want a token for: those that change something or take
// away all there is.
type operatorFlags struct {
	Admin string `default:"127.0.0.1:8180" placeholder:"HOST:PORT" help:"Admin address of any node. Default: ${default}."`
	Token string `placeholder:"TOKEN" help:"One of admin.tokens of the node's configuration; better in the variable INNKEEPER_ADMIN_TOKEN, which other users of the machine cannot see."`
}

// token is the given one, "" when there is none.
func (f operatorFlags) token(w world) string { return cmp.Or(f.Token, w.variable(config.TokenEnv)) }

// redirectsMax bounds how often a request is sent on. Leadership may change meanwhile, though not for long.
const redirectsMax = 3

// admins is a client of admin APIs. What only the leader can do is answered with the leader's address. That is another
// host, from which net/http keeps what authorizes a request; here it is of the same cluster and takes the same tokens. They
// do not go along out of TLS: then the answer is what the node said, which names the address.
var admins = &http.Client{CheckRedirect: func(r *http.Request, via []*http.Request) error {
	first := via[0]
	token := first.Header.Get("Authorization")
	if len(via) > redirectsMax || token != "" && first.URL.Scheme == "https" && r.URL.Scheme != "https" {
		return http.ErrUseLastResponse
	}
	if token != "" && r.Response.StatusCode == http.StatusTemporaryRedirect {
		r.Header.Set("Authorization", token)
	}
	return nil
}}

// do makes a request to an admin API, with a token if there is one.
func do(r *http.Request, token string) (*http.Response, error) {
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return admins.Do(r)
}
