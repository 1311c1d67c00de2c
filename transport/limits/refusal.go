package limits

import "innkeeper/transport/protocol"

// Info is what a client hears.
func (r *Refusal) Info() *protocol.ErrorInfo {
	return protocol.Errorf(refusalCode(r.Name, r.Scope), "the limit of %d (%s) of the %s %q is reached; try again later, or have the limit %s raised",
		r.Hard, r.Name.Unit(), r.Scope.Kind(), r.Scope.ID(), r.Name)
}

// refusalCode is the code that SDKs know for a limit.
func refusalCode(n Name, s Scope) int {
	switch n {
	case Channels:
		return protocol.CodeChannelLimit
	case ChannelRate:
		return protocol.CodeChannelRate
	case Connections:
		if s.Kind() == "account" {
			return protocol.CodeConnectionLimit
		}
		return protocol.CodeAppConnectionLimit
	case ConnectionRate:
		return protocol.CodeConnectionRate
	case ChannelMessageRate:
		return protocol.CodeRateChannel
	case ConnectionInRate:
		return protocol.CodeRateConnection
	case ConnectionOutRate:
		return protocol.CodeRateOutbound
	case APIRequestRate:
		return protocol.CodeRateRequests
	case MessageSize:
		return protocol.CodeTooLarge
	case PresenceMembers:
		return protocol.CodeTooManyMembers
	}
	return protocol.CodeRateMessages
}
