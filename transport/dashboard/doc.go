// Package dashboard is the page on which an operator looks at the cluster: members, partitions and their moves, live
// channels, events, deliveries, traffic.
//
// It is files and their headers, no more: what the page shows, it reads from the admin API next to it, with relative
// URLs, so that it works behind any prefix. Nothing is fetched from elsewhere, and there is no build step: what is in
// static/ is what the browser runs.
//
// # Reading order
//
// [New] and [Welcome]; then static/app.js, which wires the others: live.js (the stream and its reconnecting), dom.js
// (elements from text), format.js, chart.js, and one module per section of the page.
//
// # Hostile names
//
// Names of channels and apps are chosen by clients. They reach the page as text of text nodes and as parameters that are
// encoded, never as markup, and the Content-Security-Policy allows no script, style or request but the page's own.
//
// # Goroutines, failure
//
// None of its own. The files are read once, when the handler is made.
package dashboard
