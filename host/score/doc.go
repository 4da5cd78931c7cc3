// Package score runs models on given tokens in a process of its own, apart from
// the runners that serve, and tells what probability they gave to each token.
//
// This is the server's side: a [Pool] starts the process when it is first asked,
// hands it one request at a time, and ends it when it was idle for long. The
// process runs package engine. In between are the messages of wire.go, in gob, on
// the process's standard input and output.
//
//	pool.go         the requests, and whose turn it is
//	child.go        the process: start, exchange, cancel, end
//	turns.go        the queue
//	group.go        sequences that share a beginning
//	packed.go       the residual stream, as bytes
//	words.go        the last that a process said
//	environment.go  where it finds the libraries of GPUs
package score
