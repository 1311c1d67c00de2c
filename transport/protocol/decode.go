package protocol

import (
	"fmt"
	"unicode/utf8"
)

// Decode reads one frame of either direction. It takes any input without a panic and bounds what it keeps by the limits
// of this package. The result shares no memory with b.
//
// Unknown fields and actions are accepted, null is the same as absent, of repeated keys the last one counts. The error
// is an *ErrorInfo: 80013 when b is not well-formed, 40000 when a field has the wrong type, 40009 when b is longer than
// MaxFrameBytes. What is wrong with a single message does not make the frame unreadable; it is in Message.Err.
func Decode(f Format, b []byte) (*ProtocolMessage, error) {
	d, err := newDecoder(f, b)
	if err != nil {
		return nil, err
	}
	if k := d.src.kind(); k != kindMap && k != kindNone {
		return nil, Errorf(CodeProtocolError, "a frame has to be an object, this is %s", k)
	}
	pm := &ProtocolMessage{}
	d.src.openMap()
	for d.src.more() {
		d.field(pm)
	}
	if err := d.finish(); err != nil {
		return nil, err
	}
	return pm, nil
}

// DecodeMessages reads the body of a REST publish: one message or an array of them. Like Decode it fails only for input
// that cannot be read (40001, 40009); Message.Err has the rest.
func DecodeMessages(f Format, b []byte) (messages []Message, tooMany bool, err *ErrorInfo) {
	d, err := newDecoder(f, b)
	if err != nil {
		return nil, false, bodyError(err)
	}
	switch k := d.src.kind(); k {
	case kindMap:
		messages = []Message{d.message()}
	case kindArray:
		messages, tooMany = d.messages("message")
	case kindNone:
	default:
		return nil, false, Errorf(CodeBadBody, "the body has to be a message or an array of messages, this is %s", k)
	}
	if err := d.finish(); err != nil {
		return nil, false, bodyError(err)
	}
	return messages, tooMany, nil
}

// bodyError is the error of a frame said of a request's body.
func bodyError(err *ErrorInfo) *ErrorInfo {
	if err.Code == CodeProtocolError {
		err.Code = CodeBadBody
	}
	return err
}

// decoder walks over a source. The error of a field is kept apart from those of the source, so that the input is read
// to its end and an error of the encoding, which explains more, wins.
type decoder struct {
	src source
	err *ErrorInfo
}

func newDecoder(f Format, b []byte) (*decoder, *ErrorInfo) {
	if len(b) > MaxFrameBytes {
		return nil, Errorf(CodeTooLarge, "%d bytes exceed the limit of %d", len(b), MaxFrameBytes)
	}
	if f == JSON && !utf8.Valid(b) {
		return nil, Errorf(CodeProtocolError, "invalid JSON: not valid UTF-8")
	}
	return &decoder{src: newSource(f, b)}, nil
}

func (d *decoder) finish() *ErrorInfo {
	d.src.end()
	if err := d.src.problem(); err != nil {
		return err
	}
	return d.err
}

// entries reads a list of messages, annotations or members. A frame may hold more than one list: none may be cut unnoticed.
func (d *decoder) entries(pm *ProtocolMessage, what string) []Message {
	list, tooMany := d.messages(what)
	pm.TooMany = pm.TooMany || tooMany
	return list
}

// field reads one field of a frame.
func (d *decoder) field(pm *ProtocolMessage) {
	switch string(d.src.key()) {
	case "action":
		pm.Action = Action(d.int("action"))
	case "id":
		pm.ID = d.string("id")
	case "channel":
		if d.src.kind() != kindNull {
			pm.HasChannel = true
		}
		pm.Channel = d.string("channel")
	case "channelSerial":
		pm.ChannelSerial = d.string("channelSerial")
	case "connectionId":
		pm.ConnectionID = d.string("connectionId")
	case "count":
		pm.Count = int(d.int("count"))
	case "flags":
		pm.Flags = Flags(d.int("flags"))
	case "msgSerial":
		pm.MsgSerial = d.int("msgSerial")
	case "timestamp":
		pm.Timestamp = d.int("timestamp")
	case "params":
		pm.Params = d.stringMap("params")
	case "messages":
		pm.Messages = d.entries(pm, "message")
	case "annotations":
		pm.Annotations = d.entries(pm, "annotation")
	case "presence":
		pm.Presence = d.entries(pm, "presence message")
	case "auth":
		d.object("auth", func(key string) {
			if key == "accessToken" {
				pm.AccessToken = d.string("auth.accessToken")
			} else {
				d.src.skip()
			}
		})
	case "error":
		pm.Error = d.errorInfo()
	case "connectionDetails":
		pm.Details = d.details()
	case "res":
		pm.Res = d.results()
	default:
		d.src.skip()
	}
}

func (d *decoder) wrong(field, want string) {
	if k := d.src.kind(); d.err == nil && k != kindNone {
		d.err = Errorf(CodeBadRequest, "%s has to be %s, this is %s", field, want, k)
	}
	d.src.skip()
}

// string reads an optional string.
func (d *decoder) string(field string) string {
	switch d.src.kind() {
	case kindString:
		return string(d.src.str())
	case kindNull:
		d.src.skip()
	default:
		d.wrong(field, "a string")
	}
	return ""
}

// int reads an optional integer, in whatever form a number can have.
func (d *decoder) int(field string) int64 {
	switch d.src.kind() {
	case kindNumber:
		v, ok := d.src.number().int64()
		if !ok && d.err == nil {
			d.err = Errorf(CodeBadRequest, "%s has to be an integer of 64 bits", field)
		}
		return v
	case kindNull:
		d.src.skip()
	default:
		d.wrong(field, "an integer")
	}
	return 0
}

// object reads an optional object; entry has to consume the value of its key.
func (d *decoder) object(field string, entry func(key string)) (found bool) {
	switch d.src.kind() {
	case kindMap:
		d.src.openMap()
		for d.src.more() {
			entry(string(d.src.key()))
		}
		return true
	case kindNull:
		d.src.skip()
	default:
		d.wrong(field, "an object")
	}
	return false
}

// array reads an optional array; element has to consume one value.
func (d *decoder) array(field string, element func()) (found bool) {
	switch d.src.kind() {
	case kindArray:
		d.src.openArray()
		for d.src.more() {
			element()
		}
		return true
	case kindNull:
		d.src.skip()
	default:
		d.wrong(field, "an array")
	}
	return false
}

// stringMap reads params: values are strings, bare numbers and booleans are taken as their text.
func (d *decoder) stringMap(field string) map[string]string {
	var m map[string]string
	found := d.object(field, func(key string) {
		if m == nil {
			m = make(map[string]string)
		}
		if _, again := m[key]; len(m) == MaxParams && !again {
			if d.err == nil {
				d.err = Errorf(CodeBadRequest, "%s has more than %d entries", field, MaxParams)
			}
			d.src.skip()
			return
		}
		switch d.src.kind() {
		case kindNumber, kindBool:
			m[key] = string(d.scalar())
		case kindNull:
			d.src.skip()
		default:
			m[key] = d.string(fmt.Sprintf("%s[%q]", field, key))
		}
	})
	if found && m == nil {
		m = map[string]string{}
	}
	return m
}

// scalar reads a number or a boolean as its JSON text.
func (d *decoder) scalar() []byte {
	w := writer{f: JSON}
	transcode(&w, d.src)
	return w.b
}

func (d *decoder) errorInfo() *ErrorInfo {
	e := &ErrorInfo{}
	found := d.object("error", func(key string) {
		switch key {
		case "message":
			e.Message = d.string("error.message")
		case "code":
			e.Code = int(d.int("error.code"))
		case "statusCode":
			e.StatusCode = int(d.int("error.statusCode"))
		case "href":
			e.Href = d.string("error.href")
		case "detail":
			e.Detail = d.stringMap("error.detail")
		default:
			d.src.skip()
		}
	})
	if !found {
		return nil
	}
	return e
}

func (d *decoder) details() *ConnectionDetails {
	c := &ConnectionDetails{}
	found := d.object("connectionDetails", func(key string) {
		switch key {
		case "clientId":
			c.ClientID = d.string(key)
		case "connectionKey":
			c.ConnectionKey = d.string(key)
		case "maxMessageSize":
			c.MaxMessageSize = int(d.int(key))
		case "maxFrameSize":
			c.MaxFrameSize = int(d.int(key))
		case "maxInboundRate":
			c.MaxInboundRate = int(d.int(key))
		case "connectionStateTtl":
			c.ConnectionStateTTL = d.int(key)
		case "maxIdleInterval":
			c.MaxIdleInterval = d.int(key)
		case "serverId":
			c.ServerID = d.string(key)
		default:
			d.src.skip()
		}
	})
	if !found {
		return nil
	}
	return c
}

// results reads an ACK's res, as far as MaxMessages entries at each level.
func (d *decoder) results() (res []AckResult) {
	d.array("res", func() {
		if len(res) == MaxMessages {
			d.src.skip()
			return
		}
		var r AckResult
		d.object("res", func(key string) {
			if key != "serials" {
				d.src.skip()
				return
			}
			d.array("res.serials", func() {
				s := d.string("res.serials")
				if len(r.Serials) < MaxMessages {
					r.Serials = append(r.Serials, s)
				}
			})
		})
		res = append(res, r)
	})
	return res
}
