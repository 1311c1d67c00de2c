package rest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"
)

// nonceLeeway is how much longer than needed a nonce is remembered: clocks of nodes differ.
const nonceLeeway = time.Minute

// keys serves POST /keys/{keyName}/requestToken and …/revokeTokens.
func (c *call) keys(rest string) *protocol.ErrorInfo {
	escaped, action, _ := strings.Cut(rest, "/")
	keyName, bad := url.PathUnescape(escaped)
	if bad != nil || c.r.Method != http.MethodPost || c.cfg.Authority == nil {
		return c.notFound()
	}
	switch action {
	case "requestToken":
		return c.requestToken(keyName)
	case "revokeTokens":
		return c.revokeTokens(keyName)
	}
	return c.notFound()
}

// document reads the request's body as JSON, whatever its format.
func (c *call) document() ([]byte, *protocol.ErrorInfo) {
	body, err := c.body(c.cfg.MaxBodyBytes)
	if err != nil || len(body) == 0 {
		return nil, err
	}
	format, err := bodyFormat(c.r.Header.Get("Content-Type"), body)
	if err != nil {
		return nil, err
	}
	return protocol.DocumentJSON(format, body)
}

// replyDocument answers with a value in its JSON form, in the reply's format.
func (c *call) replyDocument(status int, v any) *protocol.ErrorInfo {
	text, err := json.Marshal(v)
	if err != nil {
		return c.backendError("encode a reply", err)
	}
	c.reply(status, protocol.AppendDocument(nil, c.format, text))
	return nil
}

func (c *call) requestToken(keyName string) *protocol.ErrorInfo {
	if err := c.countToken(keyName); err != nil {
		return err
	}
	text, err := c.document()
	if err != nil {
		return err
	}
	request, err := auth.ParseTokenRequest(text)
	if err != nil {
		return err
	}
	var by *auth.Identity
	if request.MAC == "" {
		id, err := c.identify(c.r, c.query)
		if err != nil {
			return err
		}
		by = &id
	}
	now := time.Now()
	details, err := c.cfg.Keys.Issue(keyName, request, by, now)
	if err != nil {
		return err
	}
	if request.MAC != "" {
		fresh, failure := c.cfg.Authority.ClaimNonce(c.r.Context(), keyName, request.Nonce, now.Add(2*auth.TimestampWindow+nonceLeeway))
		switch {
		case failure != nil:
			return c.backendError("claim a nonce", failure)
		case !fresh:
			return protocol.Errorf(protocol.CodeNonceReplayed, "the nonce of the token request was used before")
		}
	}
	return c.replyDocument(http.StatusCreated, details)
}

const (
	revokeTargetsMax = 100
	revokePast       = time.Hour        // how far back issuedBefore may lie
	revokeMargin     = 30 * time.Second // for clients to renew, when they are given time
)

// revocationRequest is the body of revokeTokens.
type revocationRequest struct {
	Targets           []string `json:"targets"`
	IssuedBefore      *int64   `json:"issuedBefore"`
	AllowReauthMargin bool     `json:"allowReauthMargin"`
}

// revocationResult is what became of one target.
type revocationResult struct {
	Target       string       `json:"target"`
	IssuedBefore int64        `json:"issuedBefore,omitempty"`
	AppliesAt    int64        `json:"appliesAt,omitempty"`
	Error        *resultError `json:"error,omitempty"`
}

type resultError struct {
	Message    string `json:"message"`
	Code       int    `json:"code"`
	StatusCode int    `json:"statusCode"`
}

func (c *call) revokeTokens(keyName string) *protocol.ErrorInfo {
	if err := c.mayRevoke(keyName); err != nil {
		return err
	}
	text, err := c.document()
	if err != nil {
		return err
	}
	var request revocationRequest
	if bad := json.Unmarshal(text, &request); bad != nil {
		return protocol.Errorf(protocol.CodeBadBody, "the revocation cannot be read: %v", bad)
	}
	now := time.Now()
	if n := len(request.Targets); n < 1 || n > revokeTargetsMax {
		return protocol.Errorf(protocol.CodeBadParamValue, "targets has to list 1 to %d targets, these are %d", revokeTargetsMax, n)
	}
	before := now.UnixMilli()
	if at := request.IssuedBefore; at != nil {
		if *at > before || *at < now.Add(-revokePast).UnixMilli() {
			return protocol.Errorf(protocol.CodeBadParamValue, "issuedBefore has to lie within the last hour")
		}
		before = *at
	}
	applies := now
	if request.AllowReauthMargin {
		applies = now.Add(revokeMargin)
	}
	var list []auth.Revocation
	results := make([]revocationResult, len(request.Targets))
	for i, target := range request.Targets {
		if !knownTarget(target) {
			results[i] = revocationResult{Target: target, Error: &resultError{
				Message: "the target has to be clientId:…, revocationKey:… or channel:…", Code: protocol.CodeBadRequest, StatusCode: http.StatusBadRequest,
			}}
			continue
		}
		list = append(list, auth.Revocation{KeyName: keyName, Target: target, IssuedBeforeMs: before, AppliesAtMs: applies.UnixMilli()})
		results[i] = revocationResult{Target: target, IssuedBefore: before, AppliesAt: applies.UnixMilli()}
	}
	if len(list) > 0 {
		if failure := c.cfg.Authority.Revoke(c.r.Context(), list); failure != nil {
			return c.backendError("revoke tokens", failure)
		}
	}
	if c.version < 3 {
		return c.replyDocument(http.StatusCreated, results)
	}
	return c.replyDocument(http.StatusCreated, struct {
		SuccessCount int                `json:"successCount"`
		FailureCount int                `json:"failureCount"`
		Results      []revocationResult `json:"results"`
	}{len(list), len(results) - len(list), results})
}

// mayRevoke asks for the key itself, and that its tokens can be revoked.
func (c *call) mayRevoke(keyName string) *protocol.ErrorInfo {
	id, err := c.identify(c.r, c.query)
	switch {
	case err != nil:
		return err
	case id.Token != nil:
		return protocol.Errorf(protocol.CodeBasicOnly, "tokens are revoked with the API key, not with a token")
	case id.KeyName != keyName:
		return protocol.Errorf(protocol.CodeOtherKey, "tokens are revoked with the key that issued them")
	}
	if key, _ := c.cfg.Keys.LookupName(keyName); !key.Revocable {
		return protocol.Errorf(protocol.CodeNotRevocable, "tokens of this key cannot be revoked")
	}
	return nil
}

func knownTarget(target string) bool {
	const targetBytesMax = 4 << 10
	for _, prefix := range []string{auth.TargetClientID, auth.TargetRevocationKey, auth.TargetChannel} {
		if value, ok := strings.CutPrefix(target, prefix); ok {
			return value != "" && len(target) <= targetBytesMax
		}
	}
	return false
}
