package auth

import (
	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// MayPrivilege refuses messages for a channel that ask for privileges, in extras.privileged, unless the capability has the
// operation privileged-headers there (40160). Extras without that key cost a search of their bytes.
func (i Identity) MayPrivilege(messages []channel.Message, resource string) *protocol.ErrorInfo {
	for n := range messages {
		if err := i.mayPrivilege(messages[n].Extras, resource); err != nil {
			return err
		}
	}
	return nil
}

// MayPrivilegeMembers is MayPrivilege for members of a presence set.
func (i Identity) MayPrivilegeMembers(members []channel.Member, resource string) *protocol.ErrorInfo {
	for n := range members {
		if err := i.mayPrivilege(members[n].Extras, resource); err != nil {
			return err
		}
	}
	return nil
}

func (i Identity) mayPrivilege(extras []byte, resource string) *protocol.ErrorInfo {
	if len(extras) == 0 || protocol.Privileged(extras) == nil || i.Capability.Allows(resource, PrivilegedHeaders) {
		return nil
	}
	return Denied(PrivilegedHeaders, resource)
}
