// Package protocol is the codec of the Ably protocol as a server needs it: frames, error codes, channel names, messages.
// It does no I/O, starts no goroutine, reads no clock and keeps no state; sockets and requests are its callers' business.
//
// Types in reading order: Format and Action; ProtocolMessage, what Decode makes of a frame; Message, one message as it
// stood on the wire; Canonical, which turns messages into channel.Message and checks them; ErrorInfo and its table of
// codes; Flags, which hold the channel modes; Name, a channel name with its qualifier. What the server says is laid out
// by the Append functions of serverframes.go and restbodies.go; clientframes.go has the frames of clients, for tests and
// tools.
//
// JSON and msgpack are equals. Reading goes through one walk over a source (source.go), of which there are two; writing
// goes through one writer (writer.go) that knows both layouts. Nothing here uses reflection.
//
// Promises: Decode takes any bytes without a panic and keeps no more than the limits in frame.go allow; it accepts
// unknown fields and actions. What is appended is always well-formed, valid UTF-8 included, whatever the strings given;
// objects made from maps are sorted, so equal input gives equal bytes. All functions are safe for concurrent use, and
// results never share memory with the input of Decode.
//
// An error in the encoding or in the type of a frame's field ends the reading of that frame (Decode's error). An error
// in one message (Message.Err) concerns its publish alone.
//
// Tests: golden files under testdata/frames hold every frame in both formats (go test -run Golden -update rewrites
// them); properties check that each format reads back what it wrote; FuzzDecodeJSON and FuzzDecodeMsgpack feed anything.
package protocol
