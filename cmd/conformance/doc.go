// Package conformance checks the wire protocol clause by clause with a client that hides nothing: raw frames and raw
// requests, in JSON and in msgpack, against clusters of one node and of three whose clients are spread over all nodes.
//
// A check names the section of the protocol that it holds the server to and is a function of an env. All checks of a
// cluster run at the same time, on channels of their own, in one bubble of fake time: waiting for a token to expire or for
// a connection's state to be forgotten costs nothing, and a busy machine makes nobody late. The sections follow the
// realtime and REST protocol of Ably (specification clauses RTN, RTL, RTP, RSL, RSA, RSC and the enumerated types):
//
//	§0 what breaks clients · §1 connections · §2 frames · §3 channels · §4 messages · §5 presence · §6 occupancy
//	§7 REST · §8 metachannels · §9 authentication · §10 integration rules · §12 provisioning · §13 error codes
//
// Read suite_test.go (what a check is and how all of them are run), world_test.go (the cluster), client_test.go and
// rest_test.go (the client), then a file per section. What official SDKs make of the same server is checked by
// scripts/sdk/conformance.test.mjs.
//
//	go test ./cmd/conformance                          everything
//	go test ./cmd/conformance -check '1.6.*resume' -v  checks whose section and name match
package conformance
