// Command tinygguf writes the tiny llama that gradients.py trains to standard output.
package main

import (
	"fmt"
	"os"

	"pare/integration/tinymodel"
)

func main() {
	model, err := tinymodel.New(tinymodel.Config{Architecture: "llama", Layers: 3, Seed: 1, Float32: true})
	if err == nil {
		_, err = os.Stdout.Write(model)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "write tiny model:", err)
		os.Exit(1)
	}
}
