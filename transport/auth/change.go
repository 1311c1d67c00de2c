package auth

import (
	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// Change fills in and checks who changes a message, and says whether it has to be their own. A concrete identity signs
// with its id and with no other (40012); Wildcard may sign as anybody. The capability names the operation for any message
// or for own ones (40160), which only a client with an id can have (40166).
func (i Identity) Change(m *channel.Message, resource string) (ownOnly bool, err *protocol.ErrorInfo) {
	e := m.Edit
	switch {
	case e.By == "" && i.Concrete():
		e.By = i.ClientID
	case e.By == Wildcard:
		return false, protocol.Errorf(protocol.CodeBadClientID, "version.clientId %q stands for any client and cannot change a message", e.By)
	case e.By == "" || i.ClientID == Wildcard || e.By == i.ClientID:
	default:
		return false, protocol.Errorf(protocol.CodeBadClientID, "version.clientId %.100q is not that of the publisher", e.By)
	}
	own, all := MessageUpdateOwn, MessageUpdateAny
	if e.Action == channel.MessageDelete {
		own, all = MessageDeleteOwn, MessageDeleteAny
	}
	switch {
	case i.Capability.Allows(resource, all):
		return false, nil
	case !i.Capability.Allows(resource, own):
		return false, Denied(own, resource)
	case e.By == "":
		return false, protocol.NewError(protocol.CodeNeedsOwner)
	}
	return true, nil
}

// ClaimAnnotations is Claim for annotations: those that count clients need one (40161).
func (i Identity) ClaimAnnotations(messages []channel.Message) *protocol.ErrorInfo {
	if err := i.Claim(messages); err != nil {
		return err
	}
	for n := range messages {
		if m := &messages[n]; m.ClientID == "" && protocol.NeedsClient(m.Edit.Type) {
			return protocol.Errorf(protocol.CodeNeedsIdentity, "an annotation of type %.100q needs a clientId", m.Edit.Type)
		}
	}
	return nil
}
