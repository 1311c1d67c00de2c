package conformance

// presence is about members of a channel.
func presence() []check { return nil }
