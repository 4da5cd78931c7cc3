// Pare-plugin is the process in which Pare's method runs. The server starts it;
// it is of no use by hand.
package main

import (
	"log/slog"

	"pare/plugin"
	"pare/plugin/background"
	"pare/plugin/pipeline"
)

// version is set by the Makefile when linking.
var version = "dev"

func main() {
	if err := background.GiveWay(); err != nil {
		slog.Warn("requests may wait for the plugin", "error", err)
	}
	plugin.Serve(pipeline.Pipeline{Version: version})
}
