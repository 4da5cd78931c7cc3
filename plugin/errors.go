package plugin

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A Kind says what a caller can do about an error. It is all of an error, beside
// its sentence, that crosses the process boundary.
type Kind int

const (
	Internal    Kind = iota // a bug or a broken machine
	Invalid                 // the request is wrong; another one may work
	NotFound                // no such model, profile or job
	Exists                  // the name is taken
	Refused                 // the model cannot be treated this way
	NoSpace                 // the disk is full
	Unavailable             // something that should be running is not
	Unsupported             // this machine's engine cannot do it
)

// An Error is an error with a kind and, where there is one, a hint: a sentence
// that says what to do next.
type Error struct {
	Kind Kind
	Err  error
	Hint string
}

func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Err.Error()
	}
	return e.Err.Error() + "; " + e.Hint
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an error of the given kind.
func Errorf(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// KindOf returns the kind of the first *Error in err's tree, else Internal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

var kindCodes = map[Kind]codes.Code{
	Internal:    codes.Internal,
	Invalid:     codes.InvalidArgument,
	NotFound:    codes.NotFound,
	Exists:      codes.AlreadyExists,
	Refused:     codes.FailedPrecondition,
	NoSpace:     codes.ResourceExhausted,
	Unavailable: codes.Aborted, // codes.Unavailable is gRPC's own, for a lost process
	Unsupported: codes.Unimplemented,
}

// ErrLost is in the tree of an error that means the other process went away.
var ErrLost = errors.New("the plugin process went away")

// toStatus turns an error into what gRPC sends.
func toStatus(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, err.Error())
	}
	return status.Error(kindCodes[KindOf(err)], err.Error())
}

// fromStatus turns what gRPC received into an error of this package. The
// sentence already holds the hint.
func fromStatus(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	switch s.Code() {
	case codes.Canceled:
		return context.Canceled
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	case codes.Unavailable:
		return fmt.Errorf("%w: %s", ErrLost, s.Message())
	}
	for kind, code := range kindCodes {
		if code == s.Code() {
			return &Error{Kind: kind, Err: errors.New(s.Message())}
		}
	}
	return errors.New(s.Message())
}
