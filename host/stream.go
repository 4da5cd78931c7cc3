package host

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"pare/host/client"
	"pare/plugin"
)

// httpStatus is the one place where errors become statuses.
func httpStatus(err error) int {
	if errors.Is(err, context.Canceled) || errors.Is(err, errDeleted) {
		return http.StatusConflict
	}
	var past *pastError
	if errors.As(err, &past) {
		return cmp.Or(past.code, http.StatusInternalServerError)
	}
	switch plugin.KindOf(err) {
	case plugin.Invalid:
		return http.StatusBadRequest
	case plugin.NotFound:
		return http.StatusNotFound
	case plugin.Exists:
		return http.StatusConflict
	case plugin.Refused, plugin.Unsupported:
		return http.StatusUnprocessableEntity
	case plugin.NoSpace:
		return http.StatusInsufficientStorage
	case plugin.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// A pastError is how a kept job failed, with its status then.
type pastError struct {
	code int
	text string
}

func (e *pastError) Error() string { return e.text }

// fail answers with an error.
func fail(c *gin.Context, err error) {
	code := httpStatus(err)
	c.AbortWithStatusJSON(code, client.Progress{Error: err.Error(), Code: code})
}

// answer follows an attached job to its end: a line of NDJSON for each change,
// or, for a client that wants no stream, the last line alone. An error before
// the first line is an HTTP status, after it a line.
func answer(c *gin.Context, j *job, stream bool) {
	defer j.detach()
	lines := json.NewEncoder(c.Writer)
	send := func(p client.Progress) {
		if !c.Writer.Written() {
			c.Header("Content-Type", "application/x-ndjson")
		}
		// A client that is gone ends the request's context.
		_ = lines.Encode(p)
		c.Writer.Flush()
	}
	each := send
	if !stream {
		each = func(client.Progress) {}
	}
	last, err := j.follow(c.Request.Context(), each)
	switch {
	case c.Request.Context().Err() != nil:
	case err == nil && stream:
		send(last)
	case err == nil:
		c.JSON(http.StatusOK, last)
	case c.Writer.Written():
		send(client.Progress{Job: j.id, Error: err.Error(), Code: httpStatus(err)})
	default:
		fail(c, err)
	}
}
