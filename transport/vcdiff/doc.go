// Package vcdiff says how to make one text of another, in the format of RFC 3284, and makes it.
//
// Encode is what the server needs: deltas between messages of a channel, some KiB long. It finds runs of the base and of
// what was written already through a hash of every four bytes, takes the longest of a few candidates, and writes one
// window with the default table of codes, no secondary compression and no checksum. Decode takes exactly what the format
// allows within these bounds; it is for tests and tools.
//
// Functions keep nothing of what they are given and may be called from any goroutine.
package vcdiff
