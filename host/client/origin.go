package client

import (
	"context"
	"net/http"
)

// Origin is the answer of GET /api/prune/origin/MODEL: where a model that Pare cut
// comes from.
type Origin struct {
	Model   string `json:"model"`
	Parent  string `json:"parent"`  // name of the uncut model in this store
	Digest  string `json:"digest"`  // of its GGUF
	Removed string `json:"removed"` // layers of it, written like PruneRequest.Range

	Quantize string `json:"quantize,omitempty"` // the type that the cut model was stored in, if one was asked for
}

// Origin asks which model another was cut from, and which layers are gone. It is
// an error if Pare did not cut it, if it did so more than once, or if the uncut
// model is in the store no more.
func (c *Client) Origin(ctx context.Context, model string) (Origin, error) {
	var o Origin
	err := c.call(ctx, http.MethodGet, "/api/prune/origin/"+model, nil, &o)
	return o, err
}
