package protocol

// More codes of credentials. All are said with status 401.
const (
	CodeClockSkew     = 40104 // timestamp of a token request
	CodeNonceReplayed = 40105 // nonce of a token request
	CodeOtherKey      = 40133 // another key than the one the request is about
	CodeBasicOnly     = 40162 // a token where an API key is asked for
	CodeNotRevocable  = 40163 // tokens of this key cannot be revoked
)
