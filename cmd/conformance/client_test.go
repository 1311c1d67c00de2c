package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/vmihailenco/msgpack/v5"
)

// The actions of frames.
const (
	heartbeat = iota
	ack
	nack
	connect
	connected
	disconnect
	disconnected
	closing
	closed
	failed
	attach
	attached
	detach
	detached
	presenceFrame
	message
	syncFrame
	reauth
	activate
	object
	objectSync
	annotation
)

// The flags of ATTACH and ATTACHED.
const (
	hasPresence          = 1 << 0
	hasBacklog           = 1 << 1
	resumed              = 1 << 2
	attachResume         = 1 << 5
	modePresence         = 1 << 16
	modePublish          = 1 << 17
	modeSubscribe        = 1 << 18
	modePresenceSub      = 1 << 19
	modeAnnotationPub    = 1 << 21
	modeAnnotationSub    = 1 << 22
	defaultModes         = modePresence | modePublish | modeSubscribe | modePresenceSub | modeAnnotationPub
	modeBits             = defaultModes | modeAnnotationSub | 1<<24 | 1<<25
	longSilence          = 3 * time.Second // after which what is not there is taken not to come
	maxIdleInterval      = 15 * time.Second
	connectionStateTTL   = 2 * time.Minute
	defaultTokenLifetime = time.Hour
)

// m is an object on the wire: a frame, a message, a body.
type m map[string]any

func (o m) has(key string) bool   { _, there := o[key]; return there }
func (o m) str(key string) string { s, _ := o[key].(string); return s }
func (o m) obj(key string) m      { v, _ := o[key].(m); return v }
func (o m) list(key string) []any { v, _ := o[key].([]any); return v }

// int is the number at a key, the least there is where there is none.
func (o m) int(key string) int64 {
	if n, ok := o[key].(int64); ok {
		return n
	}
	return math.MinInt64
}

// messages are the elements of an array, as objects.
func (o m) all(key string) (list []m) {
	for _, v := range o.list(key) {
		one, _ := v.(m)
		list = append(list, one)
	}
	return list
}

func (o m) code() int64 { return o.obj("error").int("code") }

// encode writes a value in a format.
func encode(format string, v any) []byte {
	var b []byte
	var err error
	if format == "json" {
		b, err = json.Marshal(v)
	} else {
		b, err = msgpack.Marshal(v)
	}
	if err != nil {
		panic(err)
	}
	return b
}

// decode reads one value: objects are m, arrays []any, whole numbers int64.
func decode(format string, b []byte) (any, error) {
	var v any
	if format == "json" {
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("%w in %q", err, b)
		}
		return normal(v), nil
	}
	v, err := msgpack.NewDecoder(bytes.NewReader(b)).DecodeInterface()
	if err != nil {
		return nil, fmt.Errorf("%w in %x", err, b)
	}
	return normal(v), nil
}

func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		o := make(m, len(v))
		for key, value := range v {
			o[key] = normal(value)
		}
		return o
	case m:
		return normal(map[string]any(v))
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = normal(v[i])
		}
		return list
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	case int, int8, int16, int32:
		return reflect.ValueOf(v).Int()
	case uint8, uint16, uint32, uint64:
		return int64(reflect.ValueOf(v).Uint())
	case float32:
		return normal(float64(v))
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int64(v)
		}
		return v
	case []string:
		list := make([]any, len(v))
		for i := range v {
			list[i] = v[i]
		}
		return list
	case []m:
		list := make([]any, len(v))
		for i := range v {
			list[i] = normal(v[i])
		}
		return list
	}
	return v
}

func equal(a, b any) bool { return reflect.DeepEqual(normal(a), normal(b)) }

func show(v any) string { return fmt.Sprintf("%.300s", fmt.Sprintf("%+v", v)) }

// client is one connection at a node.
type client struct {
	e       *env
	ip      string
	ws      *websocket.Conn
	cancel  context.CancelFunc
	in      chan m
	pending []m  // read and not asked for yet
	over    bool // the socket has ended and all it said was read
	hello   m    // CONNECTED
	serial  int64
	pings   atomic.Int32
	deaf    atomic.Bool // answers no pings
}

// dial opens a connection at a node and says nothing. args are "param=value"; a param without a value is left out.
func (e *env) dial(node int, args ...string) *client {
	query := url.Values{"v": {"6"}, "format": {e.format}, "key": {e.key(keyAll)}}
	for _, arg := range args {
		key, value, given := strings.Cut(arg, "=")
		if key == "access_token" || key == "accessToken" {
			query.Del("key")
		}
		if query.Set(key, value); !given {
			query.Del(key)
		}
	}
	c := &client{e: e, ip: e.ownIP(), in: make(chan m, 10000)}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	opts := &websocket.DialOptions{HTTPClient: web(e.net.Host(c.ip)), CompressionMode: websocket.CompressionDisabled}
	opts.OnPingReceived = func(context.Context, []byte) bool {
		c.pings.Add(1)
		return !c.deaf.Load()
	}
	ws, _, err := websocket.Dial(ctx, "ws://"+e.at(node)+"/?"+query.Encode(), opts)
	if err != nil {
		e.fatalf("dial node %d: %v", node, err)
	}
	ws.SetReadLimit(-1)
	c.ws = ws
	e.clients = append(e.clients, c)
	var reading context.Context
	reading, c.cancel = context.WithCancel(context.Background())
	e.wg.Go(func() { c.read(reading, query.Get("format")) })
	return c
}

// ownIP is an address for one more host of this check.
func (e *env) ownIP() string {
	e.hosts++
	return fmt.Sprintf("10.%d.%d.%d", 20+e.number/250+16*(e.hosts/250), e.number%250+1, e.hosts%250+1)
}

// connect opens a connection and takes CONNECTED.
func (e *env) connect(node int, args ...string) *client {
	c := e.dial(node, args...)
	c.hello = c.next()
	if c.hello.int("action") != connected {
		e.fatalf("got %s, want CONNECTED", show(c.hello))
	}
	return c
}

// refused is the error with which a connection is refused: an ERROR for the whole connection, then the end.
func (e *env) refused(node int, args ...string) m {
	c := e.dial(node, args...)
	f := c.next()
	if f.int("action") != failed || f.has("channel") {
		e.fatalf("got %s, want an ERROR without a channel", show(f))
	}
	c.ends()
	return f.obj("error")
}

func (c *client) id() string   { return c.hello.str("connectionId") }
func (c *client) key() string  { return c.details().str("connectionKey") }
func (c *client) details() m   { return c.hello.obj("connectionDetails") }
func (c *client) until() int64 { return c.details().int("maxIdleInterval") }

// read hands frames on until the socket ends.
func (c *client) read(ctx context.Context, format string) {
	defer close(c.in)
	for {
		kind, b, err := c.ws.Read(ctx)
		if err != nil {
			return
		}
		if format != "msgpack" {
			format = "json" // as the server takes what it does not know
		}
		v, err := decode(format, b)
		f, ok := v.(m)
		if err != nil || !ok || (kind == websocket.MessageText) != (format == "json") {
			f = m{"action": int64(-1), "wrong": fmt.Sprintf("%v frame %q: %v", kind, b, err)}
		}
		c.in <- f
	}
}

// lint is what holds of every frame a server sends.
func (c *client) lint(f m) {
	bad := ""
	switch f.int("action") {
	case ack, nack:
		if f.int("msgSerial") < 0 || f.int("count") < 1 {
			bad = "has no msgSerial or no count"
		}
		if f.int("action") == nack && !f.has("error") {
			bad = "has no error"
		}
	case connected:
		if f.obj("connectionDetails").str("connectionKey") == "" || f.str("connectionId") == "" || strings.Contains(f.str("connectionId"), ":") {
			bad = "has no connectionDetails or a wrong connectionId"
		}
	case message:
		if len(f.list("messages")) == 0 || f.str("channel") == "" {
			bad = "has no messages or no channel"
		}
		for _, one := range f.all("messages") {
			if one.has("connectionKey") {
				bad = "tells a connection key"
			}
		}
	case attached, detached, presenceFrame:
		if f.str("channel") == "" {
			bad = "has no channel"
		}
	case syncFrame:
		if v, ok := f["presence"].([]any); !ok || v == nil {
			bad = "has no array presence"
		}
	case failed, disconnected:
		if !f.has("error") {
			bad = "has no error"
		}
	case -1, math.MinInt64:
		bad = "cannot be read"
	}
	if f.has("error") {
		e := f.obj("error")
		if e.str("message") == "" || e.int("code") < 10000 || e.int("statusCode") < 400 {
			bad = "has an error without message, code or statusCode"
		}
	}
	for key, v := range f {
		if v == nil {
			bad = "has null at " + key
		}
	}
	if bad != "" {
		c.e.fatalf("a frame %s: %s", bad, show(f))
	}
}

// take reads one more frame, nil when there is none in time or the socket has ended.
func (c *client) take(d time.Duration) m {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case f, more := <-c.in:
		if !more {
			c.over = true
			return nil
		}
		c.lint(f)
		return f
	case <-t.C:
		return nil
	}
}

// next is the oldest frame not asked for yet, whatever it is.
func (c *client) next() m {
	if len(c.pending) > 0 {
		f := c.pending[0]
		c.pending = c.pending[1:]
		return f
	}
	f := c.take(patience)
	if f == nil {
		c.e.fatalf("nothing came (ended: %v)", c.over)
	}
	return f
}

// expect is the oldest frame of an action in which the given fields have the given values: "key", value, … Others wait to
// be asked for.
func (c *client) expect(action int64, fields ...any) m {
	fits := func(f m) bool {
		if f.int("action") != action {
			return false
		}
		for i := 0; i < len(fields); i += 2 {
			if !equal(f[fields[i].(string)], fields[i+1]) {
				return false
			}
		}
		return true
	}
	if i := slices.IndexFunc(c.pending, fits); i >= 0 {
		f := c.pending[i]
		c.pending = slices.Delete(c.pending, i, i+1)
		return f
	}
	for end := time.Now().Add(patience); ; {
		f := c.take(time.Until(end))
		switch {
		case f == nil:
			c.e.fatalf("no frame %d with %v (ended: %v); there came %s", action, fields, c.over, show(c.pending))
		case fits(f):
			return f
		}
		c.pending = append(c.pending, f)
	}
}

// silent fails when a frame of an action comes within a while, or has come.
func (c *client) silent(action int64) {
	for end := time.Now().Add(longSilence); ; {
		f := c.take(time.Until(end))
		if f == nil {
			break
		}
		c.pending = append(c.pending, f)
	}
	for _, f := range c.pending {
		if f.int("action") == action {
			c.e.fatalf("there should be no frame %d: %s", action, show(f))
		}
	}
}

// ends waits until the server has ended the connection and returns what was left to read.
func (c *client) ends() []m {
	for end := time.Now().Add(patience); !c.over; {
		f := c.take(time.Until(end))
		if f == nil && !c.over {
			c.e.fatalf("the connection still lives")
		}
		if f != nil {
			c.pending = append(c.pending, f)
		}
	}
	return c.pending
}

// alive fails unless the connection answers.
func (c *client) alive() {
	c.send(m{"action": heartbeat, "id": "alive"})
	c.expect(heartbeat, "id", "alive")
}

// send sends a frame.
func (c *client) send(f m) { c.sendRaw(encode(c.e.format, f)) }

// sendRaw sends bytes as one frame of the connection's format.
func (c *client) sendRaw(b []byte) {
	kind := websocket.MessageText
	if c.e.format == "msgpack" {
		kind = websocket.MessageBinary
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c.ws.Write(ctx, kind, b) // who was cut off finds out by reading
}

// cut ends the socket without a word.
func (c *client) cut() {
	c.ws.CloseNow()
	c.cancel()
}

// attach attaches and returns ATTACHED. more are fields of the frame: "key", value, …
func (c *client) attach(name string, more ...any) m {
	c.send(with(m{"action": attach, "channel": name}, more))
	return c.expect(attached, "channel", name)
}

// denied is the error with which an attach is refused.
func (c *client) denied(name string, more ...any) m {
	c.send(with(m{"action": attach, "channel": name}, more))
	return c.expect(failed, "channel", name).obj("error")
}

func with(f m, more []any) m {
	for i := 0; i < len(more); i += 2 {
		f[more[i].(string)] = more[i+1]
	}
	return f
}

// say publishes without waiting and returns the msgSerial.
func (c *client) say(name string, list ...m) int64 {
	c.send(m{"action": message, "channel": name, "msgSerial": c.serial, "messages": list})
	c.serial++
	return c.serial - 1
}

// publish publishes and returns the ACK.
func (c *client) publish(name string, list ...m) m {
	return c.expect(ack, "msgSerial", c.say(name, list...))
}

// nacked publishes and returns the error of the NACK.
func (c *client) nacked(name string, list ...m) m {
	return c.expect(nack, "msgSerial", c.say(name, list...)).obj("error")
}

// hears is the next MESSAGE on a channel.
func (c *client) hears(name string) m { return c.expect(message, "channel", name) }

// hear is the one message of the next MESSAGE on a channel.
func (c *client) hear(name string) m {
	f := c.hears(name)
	list := f.all("messages")
	if len(list) != 1 {
		c.e.fatalf("%d messages in one frame, want one: %s", len(list), show(f))
	}
	return list[0]
}

// fails checks code and status of an error.
func (e *env) fails(err m, code, status int64) {
	if err.int("code") != code || err.int("statusCode") != status {
		e.fatalf("the error is %s, want %d with status %d", show(err), code, status)
	}
}

// serials are those an ACK gives.
func serials(ack m) (list []string) {
	for _, r := range ack.all("res") {
		for _, s := range r.list("serials") {
			text, _ := s.(string)
			list = append(list, text)
		}
	}
	return list
}

// text makes a message of a name and text.
func text(name, data string) m { return m{"name": name, "data": data} }

func number(i int) string { return strconv.Itoa(i) }

// clone is a copy of an object, with changes.
func (o m) but(more ...any) m { return with(maps.Clone(o), more) }
