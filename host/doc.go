// Package host is Pare's side of the server: Ollama's own server, unchanged,
// with the routes of /api/prune beside it.
//
//	server.go    what runs inside `pare serve`, and how it starts and ends
//	store.go     models by name; register.go naming a finished GGUF, origin.go
//	             what a cut one came from
//	lend.go      the services a plugin gets: Model, Trace, Register;
//	             scoring.go the others, in the scoring process
//	chat.go      the prompt that a model's own template makes
//	children.go  the plugin process: started when needed, again after a crash
//	jobs.go      all jobs; record.go what is kept of one, run.go how it is done,
//	             job.go how it is followed
//	tracing.go   what was measured of normal requests; see package live
//	corpus.go    the text that comes in a request
//	libraries.go the GPU libraries of an installed Ollama
//	routes.go    HTTP, and the page of package page at /prune; guard.go who may call; stream.go NDJSON
//
// It knows models, traces and jobs, and nothing of how layers are chosen or
// removed: that is the plugin's.
package host
