// Package control is the control API: apps, keys, namespaces, rules and limits, as operators and their programs change them
// while the cluster runs. It stands on the admin listener, under /v1, and follows the resources of Ably's control API.
//
// The package is the HTTP side only: who may come in ([Access]), routes, bodies and errors. What is done is an [Op] for each
// operation of openapi.json, which is the one list of what there is: a route that has no operation, or the other way round,
// is found when the handler is made.
//
// Errors are {"error": {"message", "code", "statusCode", "details": [{"field", "message"}]}}. A body that is wrong is told
// with all that is wrong in it, each with the field, its value and the remedy.
package control
