// Command receiver is a backend that receives webhooks, for tests and demonstrations. It writes each batch down before it
// answers, and can be told to answer badly.
//
//	receiver -listen 127.0.0.1:9000 -out events.jsonl
//	curl -X POST 'http://127.0.0.1:9000/control?mode=hang'
//	receiver check events.jsonl
//
// Every POST, to any path but /control, is a batch. A line of the record is
//
//	{"received_ms": 1697206286533, "path": "/events", "answer": "ok", "batch": {…the request's body…}}
//
// POST /control?mode=M changes how requests are answered from then on, also those that hang; GET /control shows the mode
// and the counts.
//
//	ok      200 with an empty body
//	result  200 {"result":{}}, what a Centrifugo backend answers
//	error   200 {"error":{…}}, which a sender in the Centrifugo format must treat as a failure
//	500     500
//	hang    no answer until the sender gives up or the mode changes
//	cut     the connection is closed after the batch was read
//
// It runs until interrupted and then prints the counts. check reads a record and prints what breaks the promises (package
// checker); its exit status is 1 if anything does.
package main
