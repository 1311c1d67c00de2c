package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

func TestDecodeJSON(t *testing.T) {
	for _, c := range []struct {
		in   string
		want func(*ProtocolMessage) bool
	}{
		{`{}`, func(p *ProtocolMessage) bool { return p.Action == ActionHeartbeat && !p.HasChannel }},
		{" \t\r\n{ \"action\" : 10 , \"channel\" : \"c\" } \n", func(p *ProtocolMessage) bool { return p.Action == 10 && p.Channel == "c" && p.HasChannel }},
		{`{"action":10.0,"flags":1e3}`, func(p *ProtocolMessage) bool { return p.Action == 10 && p.Flags == 1000 }},
		{`{"action":4711,"what":[{"ever":[1,-2.5e-3,true,false,null,"x"]}]}`, func(p *ProtocolMessage) bool { return p.Action == 4711 }},
		{`{"action":1,"action":15}`, func(p *ProtocolMessage) bool { return p.Action == 15 }},
		{`{"channel":""}`, func(p *ProtocolMessage) bool { return p.HasChannel }},
		{`{"channel":null,"action":null,"messages":null,"params":null,"auth":null,"error":null}`, func(p *ProtocolMessage) bool { return !p.HasChannel && p.Error == nil }},
		{`{"channel":"\u00e9\ud83d\ude00\ud800x\n\/"}`, func(p *ProtocolMessage) bool { return p.Channel == "é😀\ufffdx\n/" }},
		{`{"channel":"\ud800\u0041\udc00"}`, func(p *ProtocolMessage) bool { return p.Channel == "\ufffdA\ufffd" }},
		{`{"msgSerial":9223372036854775807}`, func(p *ProtocolMessage) bool { return p.MsgSerial == math.MaxInt64 }},
		{`{"auth":{"accessToken":"t","x":{}}}`, func(p *ProtocolMessage) bool { return p.AccessToken == "t" }},
		{`{"params":{"a":"b","n":5,"f":true,"z":null}}`, func(p *ProtocolMessage) bool {
			return len(p.Params) == 3 && p.Params["a"] == "b" && p.Params["n"] == "5" && p.Params["f"] == "true"
		}},
		{`{"params":{}}`, func(p *ProtocolMessage) bool { return p.Params != nil && len(p.Params) == 0 }},
		{`{"presence":[{"action":2},{}]}`, func(p *ProtocolMessage) bool { return len(p.Presence) == 2 && p.Presence[0].Action == 2 }},
		{`{"messages":[{"data":"x"}],"messages":[{"data":"y"}]}`, func(p *ProtocolMessage) bool { return len(p.Messages) == 1 && string(p.Messages[0].Data) == "y" }},
		{`{"res":[{"serials":["a",null]}],"count":1}`, func(p *ProtocolMessage) bool {
			return len(p.Res) == 1 && p.Res[0].Serials[0] == "a" && p.Res[0].Serials[1] == ""
		}},
	} {
		if pm := mustDecode(t, JSON, []byte(c.in)); !c.want(pm) {
			t.Errorf("%s decoded to %+v", c.in, pm)
		}
	}
}

func TestDecodeSaysWhatIsWrong(t *testing.T) {
	deep := strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth)
	for _, c := range []struct {
		f    Format
		in   string
		code int
		text string
	}{
		{JSON, ``, 80013, "ends where a value should stand"},
		{JSON, `[]`, 80013, "has to be an object, this is an array"},
		{JSON, `"x"`, 80013, "this is a string"},
		{JSON, `{"action":15`, 80013, "is missing"},
		{JSON, `{"action":15,}`, 80013, "',' before '}'"},
		{JSON, `{"action" 15}`, 80013, "':' expected"},
		{JSON, `{"action":1 "x":2}`, 80013, "',' or '}' expected"},
		{JSON, `{action:15}`, 80013, "a string expected"},
		{JSON, `{"action":015}`, 80013, "expected"},
		{JSON, `{"a":1.}`, 80013, "after the point"},
		{JSON, `{"a":-}`, 80013, "without digits"},
		{JSON, `{"a":1e+}`, 80013, "exponent"},
		{JSON, `{"a":trve}`, 80013, "true expected"},
		{JSON, `{"a":"` + "\n" + `"}`, 80013, "control character"},
		{JSON, `{"a":"\x"}`, 80013, "escape"},
		{JSON, `{"a":"\u12g4"}`, 80013, "hexadecimal"},
		{JSON, `{"a":"x`, 80013, "does not end"},
		{JSON, `{"a":"x\`, 80013, "within an escape"},
		{JSON, `{} {}`, 80013, "text after the end"},
		{JSON, "{}\x00", 80013, "after the end"},
		{JSON, "{\"a\":\"\xff\"}", 80013, "UTF-8"},
		{JSON, `{"a":` + deep + `}`, 80013, "nested deeper"},
		{JSON, `{"action":"15"}`, 40000, "action has to be an integer, this is a string"},
		{JSON, `{"action":1.5}`, 40000, "action has to be an integer"},
		{JSON, `{"msgSerial":9223372036854775808}`, 40000, "64 bits"},
		{JSON, `{"msgSerial":1e999}`, 40000, "64 bits"},
		{JSON, `{"channel":7}`, 40000, "channel has to be a string, this is a number"},
		{JSON, `{"params":[]}`, 40000, "params has to be an object"},
		{JSON, `{"params":{"x":{}}}`, 40000, `params["x"] has to be a string`},
		{JSON, `{"channel":7,"x":}`, 80013, "cannot begin a value"},
		{JSON, strings.Repeat(" ", MaxFrameBytes) + "{}", 40009, "limit"},
		{MsgPack, ``, 80013, "ends where a value should stand"},
		{MsgPack, "\x81\xa6action", 80013, "ends where a value should stand"},
		{MsgPack, "\x81\xa6act", 80013, "bytes announced"},
		{MsgPack, "\x80\x80", 80013, "bytes after the end"},
		{MsgPack, "\xc1", 80013, "0xc1"},
		{MsgPack, "\xdf\xff\xff\xff\xff\xa1a", 80013, "entries in"},
		{MsgPack, "\x81\xa1a\xdd\x7f\xff\xff\xff", 80013, "entries in"},
		{MsgPack, "\x81\xa1a\xc6\xff\xff\xff\xff", 80013, "announced"},
		{MsgPack, "\x81\x90\xa1a", 80013, "a key that is not a string"},
		{MsgPack, "\x81\xa1a" + strings.Repeat("\x91", MaxDepth) + "\xc0", 80013, "nested deeper"},
		{MsgPack, "\x81\xa6action\xa215", 40000, "action has to be an integer"},
		{MsgPack, "\x81\xa6action\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01", 40000, "64 bits"},
		{MsgPack, "\x93\x01\x02\x03", 80013, "this is an array"},
		{MsgPack, "{\"action\":15}", 80013, "this is a number"},
	} {
		pm, err := Decode(c.f, []byte(c.in))
		var info *ErrorInfo
		if !errors.As(err, &info) {
			t.Errorf("Decode(%s, %.60q) = %+v, %v; want an error of code %d", c.f, c.in, pm, err, c.code)
			continue
		}
		if info.Code != c.code || !strings.Contains(info.Message, c.text) {
			t.Errorf("Decode(%s, %.60q): %v; want code %d and %q in the text", c.f, c.in, err, c.code, c.text)
		}
		if info.StatusCode == 0 || pm != nil {
			t.Errorf("Decode(%s, %.60q): status %d, frame %v", c.f, c.in, info.StatusCode, pm)
		}
	}
}

// Every width a number can have in msgpack, floats included, since JavaScript has no others.
func TestDecodeMsgpackNumbers(t *testing.T) {
	for _, v := range []any{int8(15), int16(15), int32(15), int64(15), uint8(15), uint16(15), uint32(15), uint64(15), float32(15), float64(15)} {
		var buf bytes.Buffer
		enc := msgpack.NewEncoder(&buf)
		must(t, enc.EncodeMapLen(2), enc.EncodeString("action"), enc.Encode(v), enc.EncodeString("unknown"), enc.Encode(map[string]any{"x": []any{v, nil, true, []byte{1}}}))
		if pm := mustDecode(t, MsgPack, buf.Bytes()); pm.Action != ActionMessage {
			t.Errorf("%T: action %d", v, pm.Action)
		}
	}
	for _, v := range []int64{-1, -32, -33, -128, -129, -32768, -32769, math.MinInt32, math.MinInt32 - 1, math.MinInt64, 0, 127, 128, 255, 256, 65535, 65536, math.MaxUint32, math.MaxUint32 + 1, math.MaxInt64} {
		frame := appendMsgpackInt(append([]byte{0x81}, "\xa9msgSerial"...), v)
		if pm := mustDecode(t, MsgPack, frame); pm.MsgSerial != v {
			t.Errorf("msgSerial %d came back as %d", v, pm.MsgSerial)
		}
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// A bad message leaves the frame readable: its publish can be refused and the connection lives on.
func TestDecodeKeepsFaultsWithTheirMessage(t *testing.T) {
	for _, c := range []struct {
		message string
		code    int
	}{
		{`{"name":5}`, 40016},
		{`{"clientId":[]}`, 40012},
		{`{"id":{}}`, 40031},
		{`{"encoding":1}`, 40013},
		{`{"extras":"x"}`, 40032},
		{`{"extras":[]}`, 40032},
		{`{"action":"update"}`, 40003},
		{`{"data":5}`, 40013},
		{`{"data":true}`, 40013},
		{`{"data":{"a":[1]}}`, 40013},
		{`{"data":"%","encoding":"base64"}`, 40013},
		{`{"action":1}`, 40003},
		{`{"action":4}`, 40003},
		{`"text"`, 40030},
		{`null`, 40030},
		{`{"connectionKey":4}`, 40006},
	} {
		pm := mustDecode(t, JSON, []byte(`{"action":15,"channel":"c","msgSerial":3,"messages":[`+c.message+`]}`))
		if _, _, err := Canonical(pm.Messages, CanonicalOptions{}); err == nil || err.Code != c.code {
			t.Errorf("%s: %v, want code %d", c.message, err, c.code)
		}
		if pm.MsgSerial != 3 {
			t.Errorf("%s: msgSerial lost", c.message)
		}
	}
	for frame, code := range map[string]int{`{"messages":{}}`: 40030, `{"messages":5}`: 40030, `{"messages":[]}`: 40030, `{}`: 40030} {
		pm := mustDecode(t, JSON, []byte(frame))
		if _, _, err := Canonical(pm.Messages, CanonicalOptions{}); err == nil || err.Code != code {
			t.Errorf("%s: %v, want code %d", frame, err, code)
		}
	}
}

func TestDecodeMsgpackFaultsOfMessages(t *testing.T) {
	for _, c := range []struct {
		message any
		code    int
	}{
		{map[string]any{"data": "\xff"}, 40013},
		{map[string]any{"name": "\xff"}, 40016},
		{map[string]any{"extras": map[string]any{"b": []byte{1}}}, 40032},
		{map[string]any{"extras": map[string]any{"b": math.NaN()}}, 40032},
		{map[string]any{"data": []any{math.Inf(1)}}, 40013},
		{map[string]any{"name": []byte("n")}, 40016},
	} {
		b, err := msgpack.Marshal(map[string]any{"action": 15, "messages": []any{c.message}})
		must(t, err)
		pm := mustDecode(t, MsgPack, b)
		if _, _, err := Canonical(pm.Messages, CanonicalOptions{}); err == nil || err.Code != c.code {
			t.Errorf("%v: %v, want code %d", c.message, err, c.code)
		}
	}
}

func TestDecodeBoundsWhatItKeeps(t *testing.T) {
	many := `{"messages":[` + strings.Repeat(`{},`, MaxMessages+4) + `{}]}`
	pm := mustDecode(t, JSON, []byte(many))
	if len(pm.Messages) != MaxMessages || !pm.TooMany {
		t.Errorf("kept %d messages, TooMany %v", len(pm.Messages), pm.TooMany)
	}
	if pm = mustDecode(t, JSON, []byte(many[:len(many)-1]+`,"presence":[],"annotations":null}`)); !pm.TooMany {
		t.Error("another list behind the one that was cut hides that")
	}
	params := map[string]string{}
	for i := range MaxParams + 1 {
		params[MessageID("p", i)] = "v"
	}
	text, _ := json.Marshal(map[string]any{"params": params})
	if _, err := Decode(JSON, text); err == nil || !strings.Contains(err.Error(), "more than 64 entries") {
		t.Errorf("too many params: %v", err)
	}
}

// The result must not change when the caller uses its buffer again.
func TestDecodeSharesNothing(t *testing.T) {
	for _, f := range formats {
		frame := AppendPublish(nil, f, "room", 7, map[string]string{"k": "v"}, goldenDelivery.Messages...)
		pm := mustDecode(t, f, frame)
		before := printFrame(pm)
		for i := range frame {
			frame[i] = 0xff
		}
		if after := printFrame(pm); after != before {
			t.Errorf("%s: the frame changed with the buffer\n%s\n%s", f, before, after)
		}
	}
}

func TestDecodeMessages(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		code int
	}{
		{`{"name":"a"}`, 1, 0},
		{`[{"name":"a"},{"name":"b"}]`, 2, 0},
		{`[]`, 0, 0},
		{`"x"`, 0, 40001},
		{`{"name":"a"`, 0, 40001},
		{``, 0, 40001},
		{`5`, 0, 40001},
		{"{\"name\":\"\xff\"}", 0, 40001},
	} {
		got, _, err := DecodeMessages(JSON, []byte(c.in))
		if c.code == 0 && err != nil || c.code != 0 && (err == nil || err.Code != c.code) || len(got) != c.n {
			t.Errorf("%s: %d messages, %v; want %d, code %d", c.in, len(got), err, c.n, c.code)
		}
	}
}
