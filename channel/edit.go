package channel

// Action says what a message of a publish does. The first are those of the Ably protocol.
type Action uint8

// The actions of messages. A message without an Edit creates.
const (
	MessageCreate Action = iota
	MessageUpdate
	MessageDelete
	_ // meta: no message of a channel
	MessageSummary
	MessageAppend
	Annotate   // adds an annotation to a message
	Unannotate // takes one away
)

// Edit is what a message has that does more than to come into being: it changes or annotates one that was published
// before, or it is one that was changed. In a Publish only what the publisher chooses is set: Action, Serial, By,
// Description, Metadata, Type and Count.
type Edit struct {
	Action Action
	Serial string // of the message changed or annotated

	CreatedMs   int64  // when that was published; 0 where it is not known any more
	Version     string // serial of this version
	VersionMs   int64
	By          string // client that made this version
	Description string
	Metadata    []byte // JSON object, nil when absent

	Type  string // of an annotation: namespace:method
	Count int64  // that an annotation counts for; 0 is 1

	Summary []byte   // JSON object: the annotations of the message, by type; nil when there are none
	Whole   *Message // of an Append on its way: the message with all that was appended; nil when it is not known
}

// annotates says whether a message is an annotation.
func (e *Edit) annotates() bool { return e.Action == Annotate || e.Action == Unannotate }

// edits says whether a publish changes or annotates messages. All of it does then, or nothing.
func edits(messages []Message) bool { return len(messages) > 0 && messages[0].Edit != nil }

// mix puts what a change gives in place of what a message has. What it does not give stays. The text of an Append is left
// to be put behind the text there is; fits is false where that cannot be done.
func mix(was, change *Message, action Action) (is Message, fits bool) {
	is = *was
	is.ID, is.Edit = change.ID, nil
	if change.Name != "" {
		is.Name = change.Name
	}
	if change.Extras != nil {
		is.Extras = change.Extras
	}
	switch {
	case change.Kind == NoData:
	case extends(was, change, action):
		return is, was.Kind == StringData && change.Kind == StringData && was.Encoding == change.Encoding
	default:
		is.Kind, is.Data, is.Encoding = change.Kind, change.Data, change.Encoding
	}
	return is, true
}

// extends says whether the data of a change goes behind that of the message.
func extends(was, change *Message, action Action) bool {
	return action == MessageAppend && change.Kind != NoData && was.Kind != NoData
}

// messageBytes is what counts towards the size limit of a message.
func messageBytes(m *Message) int { return len(m.Name) + len(m.ClientID) + len(m.Data) + len(m.Extras) }
