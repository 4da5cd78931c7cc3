package plugin

import (
	"context"
	"io"
	"log/slog"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// A plugin's log takes three steps: its slog writes lines as hclog does, go-plugin
// reads them from its stderr into an hclog logger, and that hands them to the
// server's slog.

// newLineHandler writes records as lines that go-plugin understands, levels and
// all.
func newLineHandler(w io.Writer) slog.Handler {
	return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		switch {
		case len(groups) > 0:
		case a.Key == slog.TimeKey:
			return slog.String("@timestamp", a.Value.Time().Format(hclog.TimeFormatJSON))
		case a.Key == slog.LevelKey:
			return slog.String("@level", strings.ToLower(a.Value.String()))
		case a.Key == slog.MessageKey:
			a.Key = "@message"
		}
		return a
	}})
}

// slogLogger sends what go-plugin and the plugin log to log.
func slogLogger(log *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "plugin", Level: hclog.Debug, Output: io.Discard})
	l.RegisterSink(slogSink{log})
	return l
}

type slogSink struct{ log *slog.Logger }

// Accept implements hclog.SinkAdapter.
func (s slogSink) Accept(name string, level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch level {
	case hclog.Info:
		to = slog.LevelInfo
	case hclog.Warn:
		to = slog.LevelWarn
	case hclog.Error:
		to = slog.LevelError
	}
	s.log.Log(context.Background(), to, msg, append([]any{"from", name}, args...)...)
}
