package protocol

import (
	"bytes"
	"encoding/json"

	"innkeeper/channel"
)

// Bounds of what an edit carries beside its message, in bytes.
const (
	descriptionBytesMax = 4096
	metadataBytesMax    = 16384
	typeBytesMax        = 256
)

// Changes says whether a publish changes a message instead of making new ones, as far as its first message tells.
func Changes(in []Message) bool { return len(in) > 0 && in[0].changes() }

func (m *Message) changes() bool {
	return m.Action == MessageUpdate || m.Action == MessageDelete || m.Action == MessageAppend
}

// change reads what a message that changes another says. Clients send back the message they received with what is to be
// different, so most of what it has means nothing here: the id is that of the publish which made it, the client id is its
// author's.
func change(out *channel.Message, in *Message, alone bool) *ErrorInfo {
	switch {
	case !alone:
		return Errorf(CodeBadPublish, "a publish that updates, deletes or appends to a message has that one message alone")
	case in.Serial == "":
		return Errorf(CodeBadParamValue, "the message to change has no serial")
	case len(in.Serial) > idBytesMax:
		return Errorf(CodeBadParamValue, "the serial is longer than %d bytes", idBytesMax)
	case len(in.Description) > descriptionBytesMax:
		return Errorf(CodeBadParamValue, "version.description is longer than %d bytes", descriptionBytesMax)
	case len(in.Metadata) > metadataBytesMax:
		return Errorf(CodeBadParamValue, "version.metadata is longer than %d bytes as JSON", metadataBytesMax)
	}
	out.ID, out.ClientID = "", ""
	out.Edit = &channel.Edit{
		Action: channel.Action(in.Action), Serial: in.Serial, By: in.By, Description: in.Description, Metadata: in.Metadata,
	}
	return nil
}

// CanonicalAnnotations turns the annotations of one publish into what channels keep, as Canonical does with messages.
func CanonicalAnnotations(in []Message, o CanonicalOptions) (messages []channel.Message, idBase string, err *ErrorInfo) {
	if err := o.check(in, "annotation"); err != nil {
		return nil, "", err
	}
	messages = make([]channel.Message, len(in))
	for i := range in {
		if err := annotation(&messages[i], &in[i]); err != nil {
			return nil, "", at(err, i, len(in))
		}
	}
	if err := o.size(messages); err != nil {
		return nil, "", err
	}
	for i := range messages {
		if messages[i].Edit.Action == channel.Unannotate {
			// What is taken away is often given as it was received, under the id of its creation.
			for j := range messages {
				messages[j].ID = ""
			}
			break
		}
	}
	idBase, err = splitIDs(messages)
	if err != nil {
		return nil, "", err
	}
	return messages, idBase, nil
}

func annotation(out *channel.Message, in *Message) *ErrorInfo {
	edit := &channel.Edit{Action: channel.Annotate, Serial: in.MessageSerial, Type: in.Type, Count: in.Count}
	method := channel.AnnotationMethod(in.Type)
	switch {
	case in.Err != nil:
		return in.Err
	case in.Action == 1:
		edit.Action = channel.Unannotate
	case in.Action != 0:
		return Errorf(CodeBadParamValue, "the action of an annotation is 0 or 1, this is %d", in.Action)
	}
	switch {
	case in.MessageSerial == "":
		return Errorf(CodeBadParamValue, "the annotation has no messageSerial")
	case len(in.MessageSerial) > idBytesMax || len(in.Type) > typeBytesMax || len(in.Name) > idBytesMax || len(in.ID) > idBytesMax:
		return Errorf(CodeBadParamValue, "a text of the annotation is too long")
	case method == "":
		return Errorf(CodeBadParamValue, "the type of an annotation is <namespace>:<method>, with the method total.v1, flag.v1, distinct.v1, unique.v1 or multiple.v1; this is %.100q", in.Type)
	case in.Count < 0 || in.Count > 1<<31-1:
		return Errorf(CodeBadParamValue, "the count of an annotation has to be from 1 to %d, this is %d", 1<<31-1, in.Count)
	case in.Name == "" && needsName(method, edit.Action):
		return Errorf(CodeBadParamValue, "an annotation of type %.100q needs a name", in.Type)
	case len(in.Encoding) > encodingBytesMax:
		return Errorf(CodeBadData, "the encoding is longer than %d bytes", encodingBytesMax)
	}
	*out = channel.Message{ID: in.ID, Name: in.Name, ClientID: in.ClientID, Encoding: in.Encoding, Extras: in.Extras, Edit: edit}
	return canonicalData(out, in, false)
}

func needsName(method string, action channel.Action) bool {
	switch method {
	case channel.DistinctV1, channel.MultipleV1:
		return true
	case channel.UniqueV1:
		return action == channel.Annotate
	}
	return false
}

// NeedsClient says whether annotations of a type count clients, and so need to know theirs.
func NeedsClient(typ string) bool {
	switch channel.AnnotationMethod(typ) {
	case channel.FlagV1, channel.DistinctV1, channel.UniqueV1:
		return true
	}
	return false
}

// extrasMap reads extras if they have a key, else it is nil.
func extrasMap(extras []byte, key string) map[string]json.RawMessage {
	if !bytes.Contains(extras, []byte(`"`+key+`"`)) {
		return nil
	}
	var m map[string]json.RawMessage
	json.Unmarshal(extras, &m) // the decoder made it: an object it is
	return m
}

// flag reads a boolean of extras.
func extrasFlag(extras []byte, key string) (value, given bool, err *ErrorInfo) {
	raw, given := extrasMap(extras, key)[key]
	switch {
	case !given || string(raw) == "null":
		return false, false, nil
	case string(raw) == "true":
		return true, true, nil
	case string(raw) == "false":
		return false, true, nil
	}
	return false, false, Errorf(CodeBadExtras, "extras.%s has to be true or false, this is %.40s", key, raw)
}

// Ephemeral says whether a publish is to be delivered and not kept: extras.ephemeral of all its messages or of none.
func Ephemeral(messages []channel.Message) (bool, *ErrorInfo) {
	all := false
	for i := range messages {
		is, _, err := extrasFlag(messages[i].Extras, "ephemeral")
		if err != nil {
			return false, at(err, i, len(messages))
		}
		if i > 0 && is != all {
			return false, Errorf(CodeBadExtras, "extras.ephemeral has to be the same for all messages of a publish")
		}
		all = is
	}
	return all, nil
}

// EchoUnwanted says whether a publish asks not to be told to its own connection: extras.echo is false in all of it.
func EchoUnwanted(messages []channel.Message) bool {
	for i := range messages {
		echo, given, err := extrasFlag(messages[i].Extras, "echo")
		if err != nil || !given || echo {
			return false
		}
	}
	return len(messages) > 0
}

// Privileged is extras.privileged, what a message asks for that not everybody may; nil when it asks for nothing.
func Privileged(extras []byte) []byte {
	asked := extrasMap(extras, "privileged")["privileged"]
	if string(asked) == "null" {
		return nil
	}
	return asked
}

// withoutDelta takes out of extras what this server put in: clients send back what they received.
func withoutDelta(extras []byte) []byte {
	m := extrasMap(extras, "delta")
	if _, is := m["delta"]; !is {
		return extras
	}
	delete(m, "delta")
	if len(m) == 0 {
		return nil
	}
	out, _ := json.Marshal(m)
	return out
}

// WithDelta is extras that name the message a delta is to be applied to.
func WithDelta(extras []byte, from string) []byte {
	m := map[string]json.RawMessage{}
	if len(extras) > 0 {
		json.Unmarshal(extras, &m)
	}
	m["delta"], _ = json.Marshal(map[string]string{"from": from, "format": "vcdiff"})
	out, _ := json.Marshal(m)
	return out
}

// userClaimKey is where extras hold what a token says of its user.
const userClaimKey = "userClaim"

// WithUserClaim is extras with a text about the user in the place where servers put it, "" for none. What clients put there
// does not stay. extras is a JSON object, or nil.
func WithUserClaim(extras []byte, text string) []byte {
	if text == "" && !bytes.Contains(extras, []byte(userClaimKey)) && !bytes.Contains(extras, []byte(`\`)) { // escapes may hide it
		return extras
	}
	m := map[string]json.RawMessage{}
	if len(extras) > 0 {
		json.Unmarshal(extras, &m)
	}
	_, given := m[userClaimKey]
	switch {
	case text == "" && !given:
		return extras
	case text == "":
		delete(m, userClaimKey)
	default:
		m[userClaimKey], _ = json.Marshal(text)
	}
	if len(m) == 0 {
		return nil
	}
	out, _ := json.Marshal(m)
	return out
}

// Full is a delivery with appended text in its place: the whole message instead. It is d where there is nothing to replace.
func Full(d *channel.Delivery) *channel.Delivery {
	full := d
	for i := range d.Messages {
		e := d.Messages[i].Edit
		if e == nil || e.Whole == nil {
			continue
		}
		if full == d {
			c := *d
			c.Messages = append([]channel.Message(nil), d.Messages...)
			full = &c
		}
		edit := *e
		edit.Action, edit.Whole = channel.MessageUpdate, nil
		m := *e.Whole
		m.Edit = &edit
		m.ID = d.Messages[i].ID
		full.Messages[i] = m
	}
	return full
}

// Annotations says whether a delivery has annotations, which are no messages to subscribers.
func Annotations(d *channel.Delivery) bool {
	if len(d.Messages) == 0 || d.Messages[0].Edit == nil {
		return false
	}
	a := d.Messages[0].Edit.Action
	return a == channel.Annotate || a == channel.Unannotate
}

// Summaries is what subscribers hear of annotations: for each message they are about, what all of its annotations come to
// now. It has no messages when nothing is known of them any more.
func Summaries(d *channel.Delivery) *channel.Delivery {
	out := *d
	out.ConnID, out.Messages = "", nil
	for i := range d.Messages {
		e := d.Messages[i].Edit
		if e == nil || e.Summary == nil {
			continue
		}
		m := channel.Message{
			ID:   MessageID(d.ID, i),
			Edit: &channel.Edit{Action: channel.MessageSummary, Serial: e.Serial, CreatedMs: e.CreatedMs, Summary: e.Summary},
		}
		again := false
		for j := range out.Messages {
			if out.Messages[j].Edit.Serial == e.Serial {
				out.Messages[j], again = m, true
			}
		}
		if !again {
			out.Messages = append(out.Messages, m)
		}
	}
	return &out
}

// edited writes the fields of a message that changes another, or was changed.
func (w *writer) edited(d *channel.Delivery, i int) {
	m := &d.Messages[i]
	e := m.Edit
	w.messageID(d, i)
	w.body(m)
	created := e.CreatedMs
	if created == 0 {
		created = d.TimeMs
	}
	w.keyInt("timestamp", created)
	w.keyInt("action", int64(e.Action))
	w.keyStr("serial", e.Serial)
	if e.Version != "" {
		w.key("version")
		in := w.openMap()
		w.keyStr("serial", e.Version)
		w.keyInt("timestamp", e.VersionMs)
		w.optStr("clientId", e.By)
		w.optStr("description", e.Description)
		if len(e.Metadata) > 0 {
			w.key("metadata")
			w.json(e.Metadata)
		}
		w.close(in)
	}
	if e.Summary != nil {
		w.key("annotations")
		in := w.openMap()
		w.key("summary")
		w.json(e.Summary)
		w.close(in)
	}
}

func (w *writer) messageID(d *channel.Delivery, i int) {
	if id := d.Messages[i].ID; id != "" {
		w.keyStr("id", id)
	} else if d.ID != "" {
		w.key("id")
		w.indexed(d.ID, i, 1)
	}
}

// AppendAnnotations appends the ANNOTATION frame of a delivery of annotations.
func AppendAnnotations(dst []byte, f Format, attachment string, d *channel.Delivery) []byte {
	w, outer := begin(dst, f, ActionAnnotation)
	w.optStr("id", d.ID)
	w.optStr("connectionId", d.ConnID)
	w.keyStr("channel", attachment)
	w.optStr("channelSerial", d.Serial)
	w.keyInt("timestamp", d.TimeMs)
	w.key("annotations")
	list := w.openArray()
	for i := range d.Messages {
		w.item()
		w.annotation(d, i)
	}
	w.close(list)
	return w.end(outer)
}

func (w *writer) annotation(d *channel.Delivery, i int) {
	m := &d.Messages[i]
	outer := w.openMap()
	w.messageID(d, i)
	w.keyInt("action", int64(m.Edit.Action-channel.Annotate))
	w.keyStr("serial", m.Edit.Version)
	w.keyStr("messageSerial", m.Edit.Serial)
	w.keyStr("type", m.Edit.Type)
	w.body(m)
	if m.Edit.Count != 0 {
		w.keyInt("count", m.Edit.Count)
	}
	w.keyInt("timestamp", d.TimeMs)
	w.close(outer)
}

// AppendAnnotationList appends an array of annotations, one of each delivery.
func AppendAnnotationList(dst []byte, f Format, list []*channel.Delivery) []byte {
	w := writer{b: dst, f: f}
	outer := w.openArray()
	for _, d := range list {
		w.item()
		w.annotation(d, 0)
	}
	return w.end(outer)
}

// AppendOne appends one message of a publish that a channel keeps.
func AppendOne(dst []byte, f Format, p Past) []byte {
	w := writer{b: dst, f: f}
	w.past(p)
	return w.b
}

// AppendVersionSerial appends the reply to a change.
func AppendVersionSerial(dst []byte, f Format, channelSerial string) []byte {
	w := writer{b: dst, f: f}
	outer := w.openMap()
	w.key("versionSerial")
	w.messageSerial(channelSerial, 0)
	return w.end(outer)
}

// DecodeAnnotations reads the body of a REST publish of annotations: an array of them. serial is that of the path.
func DecodeAnnotations(f Format, b []byte, serial string) (list []Message, tooMany bool, err *ErrorInfo) {
	d, err := newDecoder(f, b)
	if err != nil {
		return nil, false, bodyError(err)
	}
	if k := d.src.kind(); k != kindArray && k != kindNone {
		return nil, false, Errorf(CodeBadBody, "the body has to be an array of annotations, this is %s", k)
	}
	list, tooMany = d.messages("annotation")
	if err := d.finish(); err != nil {
		return nil, false, bodyError(err)
	}
	for i := range list {
		m := &list[i]
		if m.MessageSerial == "" {
			m.MessageSerial = serial
		}
		if m.MessageSerial != serial {
			m.wrong(CodeBadParamValue, "messageSerial %.100q is not that of the path", m.MessageSerial)
		}
	}
	return list, tooMany, nil
}
