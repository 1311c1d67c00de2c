package protocol

import "unicode/utf8"

// messages reads an array of messages, or of annotations, which have the same fields and a few more. Whatever stands in its
// place is the publish's error, not the frame's.
func (d *decoder) messages(what string) (messages []Message, tooMany bool) {
	switch k := d.src.kind(); k {
	case kindArray:
		d.src.openArray()
		for d.src.more() {
			if len(messages) == MaxMessages {
				d.src.skip()
				tooMany = true
				continue
			}
			messages = append(messages, d.message())
		}
	case kindNull:
		d.src.skip()
	default:
		d.src.skip()
		messages = []Message{{Err: Errorf(CodeBadPublish, "%ss has to be an array, this is %s", what, k)}}
	}
	return messages, tooMany
}

func (d *decoder) message() (m Message) {
	if k := d.src.kind(); k != kindMap {
		d.src.skip()
		m.wrong(CodeBadPublish, "a message has to be an object, this is %s", k)
		return m
	}
	d.src.openMap()
	for d.src.more() {
		d.messageField(&m)
	}
	return m
}

func (m *Message) wrong(code int, format string, args ...any) {
	if m.Err == nil {
		m.Err = Errorf(code, format, args...)
	}
}

func (d *decoder) messageField(m *Message) {
	switch string(d.src.key()) {
	case "id":
		m.ID = d.messageString(m, "id", CodeBadMessageID)
	case "name":
		m.Name = d.messageString(m, "name", CodeBadMessageName)
	case "clientId":
		m.ClientID = d.messageString(m, "clientId", CodeBadClientID)
	case "connectionId":
		m.ConnectionID = d.messageString(m, "connectionId", CodeBadConnectionID)
	case "connectionKey":
		m.ConnectionKey = d.messageString(m, "connectionKey", CodeBadConnectionID)
	case "encoding":
		m.Encoding = d.messageString(m, "encoding", CodeBadData)
	case "data":
		d.data(m)
	case "extras":
		d.extras(m)
	case "action":
		m.Action = MessageAction(d.messageInt(m, "action"))
	case "serial":
		m.Serial = d.messageString(m, "serial", CodeBadParamValue)
	case "timestamp":
		m.Timestamp = d.messageInt(m, "timestamp")
	case "version":
		d.version(m)
	case "messageSerial":
		m.MessageSerial = d.messageString(m, "messageSerial", CodeBadParamValue)
	case "type":
		m.Type = d.messageString(m, "type", CodeBadParamValue)
	case "count":
		m.Count = d.messageInt(m, "count")
	default:
		d.src.skip()
	}
}

func (d *decoder) messageString(m *Message, field string, code int) string {
	switch k := d.src.kind(); k {
	case kindString:
		text := d.src.str()
		if !utf8.Valid(text) {
			m.wrong(code, "%s is not valid UTF-8", field)
			return ""
		}
		return string(text)
	case kindNull:
		d.src.skip()
	default:
		d.src.skip()
		m.wrong(code, "%s has to be a string, this is %s", field, k)
	}
	return ""
}

func (d *decoder) messageInt(m *Message, field string) int64 {
	switch k := d.src.kind(); k {
	case kindNumber:
		v, ok := d.src.number().int64()
		if !ok {
			m.wrong(CodeBadParamValue, "%s has to be an integer of 64 bits", field)
		}
		return v
	case kindNull:
		d.src.skip()
	default:
		d.src.skip()
		m.wrong(CodeBadParamValue, "%s has to be an integer, this is %s", field, k)
	}
	return 0
}

func (d *decoder) data(m *Message) {
	m.Shape, m.Data = ShapeNone, nil
	switch k := d.src.kind(); k {
	case kindString:
		text := d.src.str()
		if !utf8.Valid(text) {
			m.wrong(CodeBadData, "data is a string that is not valid UTF-8; binary data has to be sent as binary")
			return
		}
		m.Shape, m.Data = ShapeString, append([]byte{}, text...)
	case kindBinary:
		m.Shape, m.Data = ShapeBinary, append([]byte{}, d.src.bin()...)
	case kindMap, kindArray:
		w := writer{f: JSON}
		if !transcode(&w, d.src) {
			m.wrong(CodeBadData, "data holds a value that JSON cannot express")
		}
		m.Shape, m.Data = ShapeJSON, w.b
	case kindNumber, kindBool:
		m.Shape, m.Data = ShapeScalar, d.scalar()
	case kindNull:
		d.src.skip()
	default:
		d.src.skip()
		m.wrong(CodeBadData, "data has to be a string or binary, this is %s", k)
	}
}

func (d *decoder) extras(m *Message) {
	m.Extras = nil
	switch k := d.src.kind(); k {
	case kindMap:
		w := writer{f: JSON}
		if !transcode(&w, d.src) {
			m.wrong(CodeBadExtras, "extras holds a value that JSON cannot express")
		}
		m.Extras = w.b
	case kindNull:
		d.src.skip()
	default:
		d.src.skip()
		m.wrong(CodeBadExtras, "extras has to be an object, this is %s", k)
	}
}

func (d *decoder) version(m *Message) {
	if d.src.kind() != kindMap {
		d.src.skip() // very old clients send a string
		return
	}
	d.src.openMap()
	for d.src.more() {
		switch string(d.src.key()) {
		case "serial":
			m.VersionSerial = d.messageString(m, "version.serial", CodeBadParamValue)
		case "timestamp":
			m.VersionTime = d.messageInt(m, "version.timestamp")
		case "clientId":
			m.By = d.messageString(m, "version.clientId", CodeBadClientID)
		case "description":
			m.Description = d.messageString(m, "version.description", CodeBadParamValue)
		case "metadata":
			m.Metadata = d.metadata(m)
		default:
			d.src.skip()
		}
	}
}

// metadata reads an object as JSON text.
func (d *decoder) metadata(m *Message) []byte {
	switch k := d.src.kind(); k {
	case kindMap:
		w := writer{f: JSON}
		if !transcode(&w, d.src) {
			m.wrong(CodeBadParamValue, "version.metadata holds a value that JSON cannot express")
		}
		return w.b
	case kindNull:
		d.src.skip()
	default:
		d.src.skip()
		m.wrong(CodeBadParamValue, "version.metadata has to be an object, this is %s", k)
	}
	return nil
}
