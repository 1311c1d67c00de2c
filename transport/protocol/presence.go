package protocol

import (
	"strings"

	"innkeeper/channel"
)

// CanonicalPresence turns what a client says of its members in one frame into what channels keep, or says why the frame
// as a whole is refused. connID is the client's connection: ids that are not of its making are dropped. Client ids are
// checked by the caller. MaxSize of o bounds each member: clients gather those they enter at once into one frame.
func CanonicalPresence(in []Message, connID string, o CanonicalOptions) ([]channel.Member, *ErrorInfo) {
	if len(in) == 0 {
		return nil, Errorf(CodePresence, "a presence frame needs at least one member")
	}
	members := make([]channel.Member, len(in))
	for i := range in {
		if err := canonicalMember(&members[i], &in[i], connID, o.MaxSize); err != nil {
			return nil, at(err, i, len(in))
		}
	}
	return members, nil
}

func canonicalMember(out *channel.Member, in *Message, connID string, maxSize int) *ErrorInfo {
	switch {
	case in.Err != nil:
		return in.Err
	case in.Action < MessageAction(channel.Present) || in.Action > MessageAction(channel.Update):
		return Errorf(CodePresence, "a client cannot send presence of action %d (want 2 enter, 3 leave or 4 update)", in.Action)
	case in.ConnectionID != "" && in.ConnectionID != connID:
		return Errorf(CodeBadConnectionID, "connectionId %.60q is not that of the connection", in.ConnectionID)
	case len(in.Encoding) > encodingBytesMax:
		return Errorf(CodeBadData, "the encoding is longer than %d bytes", encodingBytesMax)
	}
	var m channel.Message
	m.Encoding = in.Encoding
	if err := canonicalData(&m, in, false); err != nil {
		return err
	}
	*out = channel.Member{
		Action: channel.PresenceAction(in.Action), ClientID: in.ClientID, ConnID: connID,
		Encoding: m.Encoding, Kind: m.Kind, Data: m.Data, Extras: in.Extras,
	}
	if out.Action == channel.Present {
		out.Action = channel.Enter
	}
	if len(in.ID) <= idBytesMax && strings.HasPrefix(in.ID, connID+":") {
		out.ID = in.ID
	}
	if size := len(out.ClientID) + len(out.Data) + len(out.Extras); maxSize > 0 && size > maxSize {
		return Errorf(CodeTooLarge, "the presence of a member has %d bytes, the limit is %d", size, maxSize)
	}
	return nil
}

// MembersSize is how large members are together, as the size limit counts them.
func MembersSize(members []channel.Member) (n int) {
	for i := range members {
		m := &members[i]
		n += len(m.ClientID) + len(m.Data) + len(m.Extras)
	}
	return n
}

// AppendPresence appends the PRESENCE frame of a delivery for an attachment.
func AppendPresence(dst []byte, f Format, attachment string, d *channel.Delivery) []byte {
	w, outer := begin(dst, f, ActionPresence)
	w.optStr("id", d.ID)
	w.optStr("connectionId", d.ConnID)
	w.keyStr("channel", attachment)
	w.optStr("channelSerial", d.Serial)
	w.keyInt("timestamp", d.TimeMs)
	w.key("presence")
	w.members(d.Presence)
	return w.end(outer)
}

// AppendSync appends a SYNC frame: one page of the members. position is "<sequence>:<cursor>"; the last page has an empty
// cursor, and a sync of one page may have no position.
func AppendSync(dst []byte, f Format, attachment, position string, members []channel.Member) []byte {
	w, outer := begin(dst, f, ActionSync)
	w.keyStr("channel", attachment)
	w.optStr("channelSerial", position)
	w.key("presence")
	w.members(members)
	return w.end(outer)
}

// AppendMembers appends an array of members.
func AppendMembers(dst []byte, f Format, members []channel.Member) []byte {
	w := writer{b: dst, f: f}
	w.members(members)
	return w.b
}

func (w *writer) members(list []channel.Member) {
	outer := w.openArray()
	for i := range list {
		w.item()
		w.member(&list[i])
	}
	w.close(outer)
}

func (w *writer) member(m *channel.Member) {
	outer := w.openMap()
	w.optStr("id", m.ID)
	w.keyInt("action", int64(m.Action))
	w.keyStr("connectionId", m.ConnID)
	w.keyInt("timestamp", m.TimeMs)
	w.body(&channel.Message{ClientID: m.ClientID, Encoding: m.Encoding, Kind: m.Kind, Data: m.Data, Extras: m.Extras})
	w.close(outer)
}

// PresenceOf is one channel's part of the answer to a batch: its members, or why they cannot be told.
type PresenceOf struct {
	Channel string
	Members []channel.Member
	Err     *ErrorInfo
}

// AppendPresenceBatch appends the answer to a question for the members of several channels.
func AppendPresenceBatch(dst []byte, f Format, results []PresenceOf) []byte {
	w := writer{b: dst, f: f}
	outer := w.openMap()
	failed := 0
	for _, r := range results {
		if r.Err != nil {
			failed++
		}
	}
	w.keyInt("successCount", int64(len(results)-failed))
	w.keyInt("failureCount", int64(failed))
	w.presenceResults("results", results)
	return w.end(outer)
}

// AppendPresenceBatchFailed is the same for clients of version 2: an error with what there is beside it.
func AppendPresenceBatchFailed(dst []byte, f Format, err *ErrorInfo, results []PresenceOf) []byte {
	w := writer{b: dst, f: f}
	outer := w.openMap()
	w.error(err)
	w.presenceResults("batchResponse", results)
	return w.end(outer)
}

// AppendPresenceList is the array that clients of version 2 get where nothing failed.
func AppendPresenceList(dst []byte, f Format, results []PresenceOf) []byte {
	w := writer{b: dst, f: f}
	w.presenceList(results)
	return w.b
}

func (w *writer) presenceResults(key string, results []PresenceOf) {
	w.key(key)
	w.presenceList(results)
}

func (w *writer) presenceList(results []PresenceOf) {
	list := w.openArray()
	for i := range results {
		w.item()
		one := w.openMap()
		w.keyStr("channel", results[i].Channel)
		if err := results[i].Err; err != nil {
			w.error(err)
		} else {
			w.key("presence")
			w.members(results[i].Members)
		}
		w.close(one)
	}
	w.close(list)
}

// AppendClientPresence appends a client's PRESENCE frame, for tests and tools.
func AppendClientPresence(dst []byte, f Format, name string, msgSerial int64, members ...channel.Member) []byte {
	w, outer := begin(dst, f, ActionPresence)
	w.keyStr("channel", name)
	w.keyInt("msgSerial", msgSerial)
	w.key("presence")
	list := w.openArray()
	for i := range members {
		m := &members[i]
		w.item()
		one := w.openMap()
		w.optStr("id", m.ID)
		w.keyInt("action", int64(m.Action))
		w.body(&channel.Message{ClientID: m.ClientID, Encoding: m.Encoding, Kind: m.Kind, Data: m.Data, Extras: m.Extras})
		w.close(one)
	}
	w.close(list)
	return w.end(outer)
}

// AppendClientSync appends a client's SYNC frame, which asks for the members.
func AppendClientSync(dst []byte, f Format, name string) []byte {
	w, outer := begin(dst, f, ActionSync)
	w.keyStr("channel", name)
	return w.end(outer)
}
