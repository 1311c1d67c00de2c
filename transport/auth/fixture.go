package auth

import (
	"encoding/json"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// ChannelFixture is a channel of a provisioned app on which members are present from the beginning.
type ChannelFixture struct {
	Name    string
	Members []channel.Member // their ids and connection are to be given
}

// Fixtures are the channels that the app was made with: [{name, presence: [{clientId, data?, encoding?}]}].
func (a *App) Fixtures() ([]ChannelFixture, *protocol.ErrorInfo) {
	var in []struct {
		Name     string            `json:"name"`
		Presence []json.RawMessage `json:"presence"`
	}
	if len(a.Channels) > 0 {
		if err := json.Unmarshal(a.Channels, &in); err != nil {
			return nil, protocol.Errorf(protocol.CodeBadBody, "channels has to be an array of {name, presence}: %v", err)
		}
	}
	var list []ChannelFixture
	for i := range in {
		if len(in[i].Presence) == 0 {
			continue
		}
		if err := protocol.ValidateName(in[i].Name); err != nil {
			return nil, err
		}
		text, _ := json.Marshal(in[i].Presence)
		messages, _, err := protocol.DecodeMessages(protocol.JSON, text)
		if err != nil {
			return nil, err
		}
		for j := range messages {
			messages[j].Action = protocol.MessageAction(channel.Present)
			if id := messages[j].ClientID; id == "" || id == Wildcard {
				return nil, protocol.Errorf(protocol.CodeBadParamValue, "channels[%d].presence[%d] has no clientId", i, j)
			}
		}
		members, err := protocol.CanonicalPresence(messages, "", protocol.CanonicalOptions{})
		if err != nil {
			return nil, err
		}
		list = append(list, ChannelFixture{in[i].Name, members})
	}
	return list, nil
}

// PresenceMembers is how many members a channel of the app has at most, nil where it was not made with its own limit:
// limits.presence.maxMembers.
func (a *App) PresenceMembers() (*int, *protocol.ErrorInfo) {
	var in struct {
		Presence struct {
			MaxMembers *int `json:"maxMembers"`
		} `json:"presence"`
	}
	if len(a.Limits) > 0 {
		if err := json.Unmarshal(a.Limits, &in); err != nil {
			return nil, protocol.Errorf(protocol.CodeBadBody, "limits cannot be read: %v", err)
		}
	}
	if n := in.Presence.MaxMembers; n != nil && (*n < 1 || *n > 100_000) {
		return nil, protocol.Errorf(protocol.CodeBadParamValue, "limits.presence.maxMembers is %d; it must be from 1 to 100000", *n)
	}
	return in.Presence.MaxMembers, nil
}
