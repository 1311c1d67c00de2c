// Command consumer is an example of a backend that pulls: it keeps the set of occupied channels of an app and prints what
// changes. Where it keeps a file, it goes on where it was; without, or when the file is lost, it makes its table anew.
//
//	consumer -node http://127.0.0.1:8080,http://127.0.0.1:8081 -key-file key.txt -state table.json
//
// A line is one change: the seq, + or -, the channel. Package mirror is the part to copy; docs/consuming.md explains it.
package main
