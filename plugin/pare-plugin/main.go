// Pare-plugin is the process in which Pare's method runs. The server starts it;
// it is of no use by hand.
package main

import (
	"pare/plugin"
	"pare/plugin/pipeline"
)

// version is set by the Makefile when linking.
var version = "dev"

func main() { plugin.Serve(pipeline.Pipeline{Version: version}) }
