package auth

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"innkeeper/channel"
	"innkeeper/transport/protocol"
)

// claimUser begins the name of a claim of a JWT about its user on some channels: ably.channel.<pattern>, with patterns as
// in capabilities. Its text goes with all that the user publishes there, so that others can rely on it.
const claimUser = "ably.channel."

// Bounds of user claims.
const (
	userClaimsMax     = 100
	userClaimBytesMax = 1024
)

// userClaim is what a token says of its user on some channels.
type userClaim struct {
	segments []string // of the pattern
	text     string
}

// readUserClaims reads those of a JWT, the most specific ones first: patterns without *, then those with more segments.
func readUserClaims(claims jwt.MapClaims) (list []userClaim, why string) {
	for name, v := range claims {
		pattern, is := strings.CutPrefix(name, claimUser)
		if !is {
			continue
		}
		text, isText := v.(string)
		switch {
		case pattern == "" || strings.HasPrefix(pattern, "["):
			return nil, fmt.Sprintf("the claim %.100s has to name channels, such as %schat:*", name, claimUser)
		case !isText || len(text) > userClaimBytesMax:
			return nil, fmt.Sprintf("the claim %.100s has to be a string of at most %d bytes", name, userClaimBytesMax)
		}
		list = append(list, userClaim{strings.Split(pattern, ":"), text})
	}
	if len(list) > userClaimsMax {
		return nil, fmt.Sprintf("it has %d claims %s…, and may have %d", len(list), claimUser, userClaimsMax)
	}
	slices.SortFunc(list, func(a, b userClaim) int {
		return cmp.Or(cmp.Compare(stars(a.segments), stars(b.segments)), cmp.Compare(len(b.segments), len(a.segments)), slices.Compare(a.segments, b.segments))
	})
	return list, ""
}

func stars(segments []string) (n int) {
	for _, s := range segments {
		if s == "*" {
			n++
		}
	}
	return n
}

// userClaim is what the token says of the user on an ordinary channel; "" is nothing.
func (i Identity) userClaim(name string) string {
	if i.Token == nil {
		return ""
	}
	for _, c := range i.Token.userClaims {
		if matchSegments(c.segments, name) {
			return c.text
		}
	}
	return ""
}

// Vouch puts what the token says of the user into extras.userClaim of messages for a channel, in place, and takes out what
// they say there of themselves. A change without extras keeps those of its message.
func (i Identity) Vouch(messages []channel.Message, name string) {
	text := i.userClaim(name)
	for n := range messages {
		if m := &messages[n]; m.Edit == nil || m.Edit.Type != "" || m.Extras != nil { // no change, an annotation, or with extras
			m.Extras = protocol.WithUserClaim(m.Extras, text)
		}
	}
}

// VouchMembers is Vouch for members of a presence set.
func (i Identity) VouchMembers(members []channel.Member, name string) {
	text := i.userClaim(name)
	for n := range members {
		members[n].Extras = protocol.WithUserClaim(members[n].Extras, text)
	}
}
