package rest

import (
	"mime"
	"net/http"
	"strconv"
	"strings"

	"innkeeper/transport/protocol"
)

const (
	corsMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
	corsHeaders = "accept, authorization, content-type, x-ably-version, x-ably-clientid, ably-agent"
	corsExposed = "Link, Content-Length, X-Ably-Errorcode, X-Ably-Errormessage, X-Ably-ServerId, Server"
)

// allowOrigin lets pages of any origin read the reply: a key, not a cookie, is what lets a request do anything.
func allowOrigin(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" {
		return
	}
	w.Header().Set("Access-Control-Allow-Origin", origin)
	w.Header().Set("Access-Control-Allow-Credentials", "true")
	w.Header().Set("Access-Control-Expose-Headers", corsExposed)
}

// preflight answers OPTIONS, on any path.
func preflight(w http.ResponseWriter) {
	w.Header().Set("Allow", corsMethods)
	w.Header().Set("Access-Control-Allow-Methods", corsMethods)
	w.Header().Set("Access-Control-Allow-Headers", corsHeaders)
	w.Header().Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}

// replyFormat chooses the format of the reply: what Accept names with the greatest weight, the first of equals; if it
// names neither format, the format parameter; else JSON.
func replyFormat(accept []string, param string) protocol.Format {
	best, found := 0.0, false
	format := protocol.JSON
	for _, item := range strings.Split(strings.Join(accept, ","), ",") {
		media, params, err := mime.ParseMediaType(item)
		if err != nil {
			continue
		}
		f, ok := mediaFormat(media)
		weight := 1.0
		if q, set := params["q"]; set {
			weight, err = strconv.ParseFloat(q, 64)
			ok = ok && err == nil
		}
		if ok && weight > best {
			best, format, found = weight, f, true
		}
	}
	if !found {
		format, _ = protocol.ParseFormat(param)
	}
	return format
}

func mediaFormat(media string) (f protocol.Format, ok bool) {
	switch media {
	case "application/json", "text/json":
		return protocol.JSON, true
	case "application/x-msgpack", "application/msgpack", "application/vnd.msgpack":
		return protocol.MsgPack, true
	}
	return protocol.JSON, false
}

// bodyFormat tells the format of a request's body. A form type with JSON in it counts as JSON: that is what curl sends.
func bodyFormat(contentType string, body []byte) (protocol.Format, *protocol.ErrorInfo) {
	if contentType == "" {
		return protocol.JSON, nil
	}
	media, _, err := mime.ParseMediaType(contentType)
	if f, ok := mediaFormat(media); ok && err == nil {
		return f, nil
	}
	text := strings.TrimLeft(string(body[:min(len(body), 64)]), " \t\r\n")
	if media == "application/x-www-form-urlencoded" && (strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[")) {
		return protocol.JSON, nil
	}
	return 0, protocol.Errorf(protocol.CodeBadHeader, "Content-Type %q is not supported: use application/json or application/x-msgpack", contentType)
}

// reply writes a body that is in the reply's format. The content type has no charset: clients compare it literally.
func (c *call) reply(status int, body []byte) {
	head := c.w.Header()
	if c.wrapped {
		status, body = http.StatusOK, protocol.AppendEnvelope(nil, c.format, status, body, envelopeHeaders(head))
	}
	head.Set("Content-Type", c.format.ContentType())
	head.Set("Content-Length", strconv.Itoa(len(body)))
	head.Set("Cache-Control", "no-store")
	if c.cfg.ServerID != "" {
		head.Set("X-Ably-ServerId", c.cfg.ServerID)
	}
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		c.w.Write(body) // a client that has gone needs no answer
	}
}

// envelopeHeaders are those of a reply that mean something to a client that cannot read headers.
func envelopeHeaders(head http.Header) map[string]string {
	out := map[string]string{}
	for _, name := range []string{"Link", "X-Ably-Errorcode", "X-Ably-Errormessage"} {
		if values := head.Values(name); len(values) > 0 {
			out[name] = strings.Join(values, ", ")
		}
	}
	return out
}

// fail answers with an error, in the headers as well as in the body. Pages always get it as JSON: the SDK that runs in
// browsers reads no msgpack there, and would not know a token error from any other.
func (c *call) fail(err *protocol.ErrorInfo) {
	c.failWith(err, func(f protocol.Format) []byte { return protocol.AppendErrorBody(nil, f, err) })
}

// failWith does the same with a body that says more.
func (c *call) failWith(err *protocol.ErrorInfo, body func(protocol.Format) []byte) {
	if c.r.Header.Get("Origin") != "" {
		c.format = protocol.JSON
	}
	c.failed.Add(1)
	head := c.w.Header()
	head.Set("X-Ably-Errorcode", strconv.Itoa(err.Code))
	head.Set("X-Ably-Errormessage", headerText(err.Message))
	if err.StatusCode == http.StatusTooManyRequests {
		head.Set("Retry-After", "1") // limits are per second
	}
	c.reply(err.StatusCode, body(c.format))
}

// Fail answers a request with an error, for handlers that stand beside this one.
func (h *Handler) Fail(w http.ResponseWriter, r *http.Request, err *protocol.ErrorInfo) {
	allowOrigin(w, r)
	format := replyFormat(r.Header.Values("Accept"), r.URL.Query().Get("format"))
	(&call{Handler: h, w: w, r: r, format: format}).fail(err)
}

// headerText is text as a header can hold it: short, printable, ASCII.
func headerText(s string) string {
	const bytesMax = 512
	s = s[:min(len(s), bytesMax)]
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

// backendError turns an error of the Backend into what the client hears. Causes of internal errors go to the log.
func (c *call) backendError(op string, err error) *protocol.ErrorInfo {
	info := protocol.AsError(err)
	if info.Code == protocol.CodeInternal {
		c.cfg.Logger.Error("rest: "+op+" failed", "path", c.r.URL.Path, "err", err)
	}
	return info
}
