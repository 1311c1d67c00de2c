package control

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Op does one operation. What it returns is the answer's body, with status 200 unless it is a Created or NoContent. Errors
// that are not an *Error are told as 503 and noted in the log.
type Op func(*Request) (any, error)

// Request is what was asked for.
type Request struct {
	*http.Request
	Token string // by what the client came in

	body []byte
}

// bodyMax bounds a body, in bytes.
const bodyMax = 256 << 10

// Path is a part of the path, by the name it has in openapi.json.
func (r *Request) Path(name string) string { return r.PathValue(name) }

// Query are the parameters.
func (r *Request) Query() url.Values { return r.URL.Query() }

// Decode reads the body into a struct. Fields that it does not have are wrong.
func (r *Request) Decode(into any) error {
	if _, err := r.Map(); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(r.body))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		return nil
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return Invalid(Problem{Field: wrong.Field, Message: fmt.Sprintf("is a %s; it must be %s", wrong.Value, kindOf(wrong.Type.String()))})
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return Invalid(Problem{Field: strings.Trim(field, `"`), Message: "is not known; see openapi.json for what there is"})
	}
	return Invalid(Problem{Message: fmt.Sprintf("the body cannot be read: %v", err)})
}

func kindOf(typ string) string {
	switch strings.TrimPrefix(typ, "*") {
	case "string":
		return "text"
	case "bool":
		return "true or false"
	}
	return typ
}

// Map reads the body as an object. Numbers are json.Number. The caller may change it.
func (r *Request) Map() (m map[string]any, err error) {
	d := json.NewDecoder(bytes.NewReader(r.body))
	d.UseNumber()
	if err := d.Decode(&m); err != nil || m == nil {
		why := "it is null"
		if err != nil {
			why = err.Error()
		}
		return nil, Invalid(Problem{Message: "the body must be a JSON object: " + why})
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, Invalid(Problem{Message: "the body must be one JSON object, and there is something behind it"})
	}
	return m, nil
}

// created is an answer with status 201.
type created struct{ body any }

// Created is the answer to an operation that made something.
func Created(body any) any { return created{body} }

// NoContent is the answer of an operation with nothing to say.
var NoContent any = struct{ noContent bool }{}

// OpenAPI is the description of the API, OpenAPI 3.1 as JSON.
//
//go:embed openapi.json
var OpenAPI []byte

// Prefix begins the paths of all operations.
const Prefix = "/v1"

// route is an operation of the document.
type route struct{ method, path, id string }

// routes reads the operations off the document.
func routes(document []byte) ([]route, error) {
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		return nil, fmt.Errorf("control: openapi.json: %w", err)
	}
	var list []route
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(doc.Paths[path])) {
			if method == "parameters" {
				continue
			}
			var op struct {
				OperationID string `json:"operationId"`
			}
			if err := json.Unmarshal(doc.Paths[path][method], &op); err != nil {
				return nil, fmt.Errorf("control: openapi.json: %s %s: %w", method, path, err)
			}
			list = append(list, route{strings.ToUpper(method), path, op.OperationID})
		}
	}
	return list, nil
}

// Config is what a handler is made of.
type Config struct {
	Access *Access
	Ops    map[string]Op // by operation id
	Logger *slog.Logger  // nil discards
}

type handler struct{ Config }

// New makes the handler of /v1 and /openapi.json. It fails if operations and document do not agree.
func New(c Config) (http.Handler, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	h := &handler{c}
	list, err := routes(OpenAPI)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	methods, there := map[string][]string{}, map[string]bool{}
	for _, r := range list {
		op := c.Ops[r.id]
		if op == nil {
			return nil, fmt.Errorf("control: openapi.json has the operation %q (%s %s), and nobody does it", r.id, r.method, r.path)
		}
		there[r.id] = true
		methods[r.path] = append(methods[r.path], r.method)
		mux.Handle(r.method+" "+Prefix+r.path, h.serve(r, op))
	}
	for id := range c.Ops {
		if !there[id] {
			return nil, fmt.Errorf("control: the operation %q is not in openapi.json", id)
		}
	}
	for path, allowed := range methods {
		mux.HandleFunc(Prefix+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			h.fail(w, &Error{Status: http.StatusMethodNotAllowed, Code: 40500,
				Message: fmt.Sprintf("method %s is not allowed on %s; use %s", r.Method, r.URL.Path, strings.Join(allowed, ", "))})
		})
	}
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(OpenAPI)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.fail(w, &Error{Status: http.StatusNotFound, Code: 40400, Message: fmt.Sprintf("there is no %s here; /openapi.json describes what there is", r.URL.Path)})
	})
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h.fail(w, &Error{Status: http.StatusForbidden, Code: 40300, Message: "requests that change something are not taken from web pages of other origins"})
	}))
	return guard.Handler(mux), nil
}

func (h *handler) serve(route route, op Op) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := h.Access.Check(r)
		var answer any
		if err == nil {
			request := &Request{Request: r, Token: who}
			if request.body, err = readBody(r); err == nil {
				answer, err = op(request)
			}
		}
		if err != nil {
			h.fail(w, err)
			return
		}
		if r.Method != http.MethodGet {
			h.Logger.Info("changed through the control API", "operation", route.id, "path", r.URL.Path, "by", who, "from", r.RemoteAddr)
		}
		status := http.StatusOK
		if c, ok := answer.(created); ok {
			status, answer = http.StatusCreated, c.body
		}
		if answer == NoContent {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		reply(w, status, answer)
	})
}

// readBody reads what a request that changes something carries.
func readBody(r *http.Request) ([]byte, error) {
	if r.Method == http.MethodGet || r.Method == http.MethodDelete {
		return nil, nil
	}
	if given := r.Header.Get("Content-Type"); given != "" {
		if media, _, err := mime.ParseMediaType(given); err != nil || media != "application/json" && media != "application/merge-patch+json" {
			return nil, &Error{Status: http.StatusUnsupportedMediaType, Code: 40004, Message: fmt.Sprintf("Content-Type %.60q is not taken; send application/json", given)}
		}
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, bodyMax+1))
	switch {
	case err != nil:
		return nil, Invalid(Problem{Message: fmt.Sprintf("the body cannot be read: %v", err)})
	case len(b) > bodyMax:
		return nil, &Error{Status: http.StatusRequestEntityTooLarge, Code: 40009, Message: fmt.Sprintf("the body is longer than %d bytes", bodyMax)}
	}
	return b, nil
}

func (h *handler) fail(w http.ResponseWriter, err error) {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		h.Logger.Warn("a request to the control API failed", "err", err)
		e = &Error{Status: http.StatusServiceUnavailable, Code: 50003, Message: fmt.Sprintf("it is not known whether this was done: %v; look, and try again", err)}
	}
	if e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="innkeeper"`)
	}
	type body struct {
		Message    string    `json:"message"`
		Code       int       `json:"code"`
		StatusCode int       `json:"statusCode"`
		Details    []Problem `json:"details,omitempty"`
	}
	reply(w, e.Status, map[string]body{"error": {e.Message, e.Code, e.Status, e.Details}})
}

func reply(w http.ResponseWriter, status int, v any) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		status = http.StatusInternalServerError
		b.Reset()
		fmt.Fprintf(&b, `{"error":{"message":"this cannot be shown","code":50000,"statusCode":500}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}
