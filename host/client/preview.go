package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// Preview asks a model as if some of its layers had been cut out, calling each
// with every line of the answer; the last one is Done. Ending ctx ends the answer.
func (c *Client) Preview(ctx context.Context, r PreviewRequest, each func(PreviewReply) error) error {
	resp, err := c.do(ctx, http.MethodPost, "/api/prune/preview", nil, r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for lines.Scan() {
		var reply PreviewReply
		if err := json.Unmarshal(lines.Bytes(), &reply); err != nil {
			return fmt.Errorf("read the server's answer: %w", err)
		}
		if reply.Error != "" {
			return &StatusError{Code: reply.Code, Message: reply.Error}
		}
		if err := each(reply); err != nil || reply.Done {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return fmt.Errorf("%w before the answer ended", ErrLost)
}

// Score asks how probable a model finds a text, whole and without some of its
// layers.
func (c *Client) Score(ctx context.Context, r ScoreRequest) (ScoreReply, error) {
	var reply ScoreReply
	err := c.call(ctx, http.MethodPost, "/api/prune/score", r, &reply)
	return reply, err
}
