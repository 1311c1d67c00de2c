// Package config is everything a user can set on a node: the settings, their defaults, where they are read from and
// what is refused. It decides nothing at run time and starts nothing.
//
// Reading order: config.go (the settings), default.go, load.go (file, variables, flags and their order), decode.go
// (strict decoding), validate.go (what values mean something), schema.go (the list that flags, variables and the
// search for the nearest known key are made from).
//
// A setting has one name everywhere: the YAML key node.listen is the flag --node.listen and the variable
// INNKEEPER_NODE_LISTEN. A flag beats a variable, a variable beats the file, the file beats the default. Apps, with
// their keys, namespaces and rules, and limits are set in the file only.
//
// Nothing is guessed: a key that is not known, a value of another type or a value out of range is an error that names
// the key, the value, what is allowed and what to do. All the errors of one load are reported together, as *Error.
// Secrets never appear in an error or a summary.
//
// All functions are safe for concurrent use; a Config is a plain value, shared only after it is complete.
package config
