package rest

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"innkeeper/transport/auth"
	"innkeeper/transport/protocol"
)

// appReply is a provisioned app as test suites of SDKs read it.
type appReply struct {
	AppID       string           `json:"appId"`
	AccountID   string           `json:"accountId"`
	ID          string           `json:"id"`
	Status      int              `json:"status"`
	Created     int64            `json:"created"`
	Modified    int64            `json:"modified"`
	TLSOnly     bool             `json:"tlsOnly"`
	Keys        []keyReply       `json:"keys"`
	Namespaces  []auth.Namespace `json:"namespaces"`
	Channels    json.RawMessage  `json:"channels"`
	Connections []struct{}       `json:"connections"`
	// Where the app is served, for suites that were given no more than the address of this request.
	Endpoint string `json:"endpoint,omitempty"`
	Port     int    `json:"port,omitempty"`
	TLS      bool   `json:"tls"`
}

type keyReply struct {
	ID         string `json:"id"`
	Value      string `json:"value"`
	Capability string `json:"capability"`
	KeyName    string `json:"keyName"`
	KeySecret  string `json:"keySecret"`
	KeyStr     string `json:"keyStr"`
	Status     int    `json:"status"`
	Type       int    `json:"type"`
	Expires    int64  `json:"expires"`
	Revocable  bool   `json:"revocableTokens,omitempty"`
}

// createApp serves POST /apps. It asks for no credentials: whether there is such a thing is the operator's choice.
func (c *call) createApp() *protocol.ErrorInfo {
	text, err := c.document()
	if err != nil {
		return err
	}
	app, err := auth.NewApp(text, time.Now().UnixMilli())
	if err != nil {
		return err
	}
	if failure := c.cfg.Authority.CreateApp(c.r.Context(), app); failure != nil {
		return c.backendError("create an app", failure)
	}
	reply := appReply{
		AppID: app.ID, AccountID: app.AccountID, ID: app.ID, Status: 1, Created: app.CreatedMs, Modified: app.CreatedMs,
		Keys: []keyReply{}, Namespaces: app.Namespaces, Channels: app.Channels, Connections: []struct{}{},
		// A proxy that ends TLS says so; whoever makes it up misleads nobody but himself.
		TLS: c.r.TLS != nil || strings.EqualFold(c.r.Header.Get("X-Forwarded-Proto"), "https"),
	}
	for _, k := range app.Keys {
		name := app.ID + "." + k.ID
		reply.Keys = append(reply.Keys, keyReply{
			ID: k.ID, Value: k.Secret, Capability: k.Capability, KeyName: name, KeySecret: k.Secret, KeyStr: name + ":" + k.Secret,
			Revocable: k.Revocable,
		})
	}
	if reply.Namespaces == nil {
		reply.Namespaces = []auth.Namespace{}
	}
	if len(reply.Channels) == 0 || string(reply.Channels) == "null" {
		reply.Channels = json.RawMessage("[]")
	}
	reply.Endpoint, reply.Port = servedAt(c.r.Host, reply.TLS)
	return c.replyDocument(http.StatusCreated, &reply)
}

// servedAt is where the server was reached, by the header Host: without a port it is that of the scheme. No host at all is
// "" and 0.
func servedAt(host string, secure bool) (endpoint string, port int) {
	if name, text, err := net.SplitHostPort(host); err == nil {
		port, _ = strconv.Atoi(text)
		return name, port
	}
	switch {
	case host == "":
		return "", 0
	case secure:
		port = 443
	default:
		port = 80
	}
	return strings.Trim(host, "[]"), port
}

// deleteApp serves DELETE /apps/{appId}, for whoever has a key of that app.
func (c *call) deleteApp(escaped string) *protocol.ErrorInfo {
	app, bad := url.PathUnescape(escaped)
	if bad != nil {
		return c.notFound()
	}
	id, err := c.identify(c.r, c.query)
	switch {
	case err != nil:
		return err
	case id.Token != nil:
		return protocol.Errorf(protocol.CodeBasicOnly, "an app is deleted with one of its API keys, not with a token")
	case id.App != app:
		return protocol.Errorf(protocol.CodeOtherKey, "the key belongs to another app")
	case !id.Capability.AllowsEverywhere(auth.AllOps):
		return auth.Denied(auth.AllOps, "*")
	}
	failure := c.cfg.Authority.DeleteApp(c.r.Context(), app)
	switch {
	case errors.Is(failure, ErrNotProvisioned):
		return protocol.Errorf(protocol.CodeForbidden, "app %s stands in the configuration and is not deleted by a request", app)
	case failure != nil:
		return c.backendError("delete an app", failure)
	}
	c.w.Header().Set("Cache-Control", "no-store")
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
