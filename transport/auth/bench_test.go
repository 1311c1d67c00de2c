package auth

import (
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

func BenchmarkAuthenticate(b *testing.B) {
	k := tokenKeys(b)
	for name, c := range map[string]Credentials{
		"key":   {Key: "demo.root:secret"},
		"token": {Token: issue(b, k, "demo.root", "clientId", "alice", "capability", `{"a:*":["*"],"b":["publish","subscribe"]}`).Token},
		"jwt":   {Token: sign(b, "demo.root", "secret", jwt.MapClaims{"x-ably-clientId": "alice"})},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := k.Authenticate(c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
