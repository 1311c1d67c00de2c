package auth

import "time"

// Revocation ends the tokens of one key that match a target and were issued before a time.
type Revocation struct {
	KeyName        string
	Target         string // clientId:x, revocationKey:x or channel:x
	IssuedBeforeMs int64  // unix ms
	AppliesAtMs    int64  // unix ms; until then clients may renew
}

// Targets of revocations, by what stands before the value.
const (
	TargetClientID      = "clientId:"
	TargetRevocationKey = "revocationKey:"
	TargetChannel       = "channel:"
)

type revocations map[revocationPlace][]Revocation

type revocationPlace struct{ keyName, target string }

// ReplaceRevocations exchanges all revocations.
func (k *Keys) ReplaceRevocations(list []Revocation) {
	set := make(revocations, len(list))
	for _, r := range list {
		at := revocationPlace{r.KeyName, r.Target}
		set[at] = append(set[at], r)
	}
	k.revoked.Store(&set)
}

// Revoked finds the revocation that ends an identity's token first, be it now or at a later time. There is none for an
// API key. A revocation of a channel is for tokens whose capability names that very resource.
func (k *Keys) Revoked(id *Identity) (first Revocation, found bool) {
	set := *k.revoked.Load()
	if len(set) == 0 || id.Token == nil {
		return first, false
	}
	look := func(prefix, value string) {
		for _, r := range set[revocationPlace{id.KeyName, prefix + value}] {
			if id.Token.IssuedMs < r.IssuedBeforeMs && (!found || r.AppliesAtMs < first.AppliesAtMs) {
				first, found = r, true
			}
		}
	}
	if id.Token.ClientID != "" {
		look(TargetClientID, id.Token.ClientID)
	}
	if id.Token.RevocationKey != "" {
		look(TargetRevocationKey, id.Token.RevocationKey)
	}
	for i := range id.Capability.rules {
		look(TargetChannel, id.Capability.rules[i].resource)
	}
	return first, found
}

// Ends is when an identity's token ends and whether a revocation is why; the zero time for an API key.
func (k *Keys) Ends(id *Identity) (at time.Time, revoked bool) {
	if id.Token == nil {
		return time.Time{}, false
	}
	ms := id.Token.ExpiresMs
	if r, found := k.Revoked(id); found && r.AppliesAtMs < ms {
		ms, revoked = r.AppliesAtMs, true
	}
	return time.UnixMilli(ms), revoked
}
