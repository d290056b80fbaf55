package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// valueMappers returns parsers for the values of flags and variables, whose errors say which values are valid.
func valueMappers() []kong.Option {
	return []kong.Option{
		kong.TypeMapper(reflect.TypeFor[time.Duration](), reader(parseDuration)),
		kong.KindMapper(reflect.Int, reader(func(s string) (int, error) {
			return parsed(strconv.Atoi(s))(s, "a whole number")
		})),
		kong.KindMapper(reflect.Int64, reader(func(s string) (int64, error) {
			return parsed(strconv.ParseInt(s, 10, 64))(s, "a whole number")
		})),
		kong.KindMapper(reflect.Uint32, reader(func(s string) (uint32, error) {
			n, err := strconv.ParseUint(s, 10, 32)
			return parsed(uint32(n&math.MaxUint32), err)(s, "a whole number from 0 to 4294967295")
		})),
		kong.KindMapper(reflect.Float64, reader(func(s string) (float64, error) {
			return parsed(strconv.ParseFloat(s, 64))(s, "a number")
		})),
		kong.NamedMapper("existingfile", reader(existingFile)),
	}
}

// reader returns a kong.Mapper that parses values with the given function.
func reader[T any](parse func(text string) (T, error)) kong.Mapper {
	return kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
		var text string
		if err := ctx.Scan.PopValueInto("value", &text); err != nil {
			return err
		}
		value, err := parse(text)
		if err == nil {
			target.Set(reflect.ValueOf(value).Convert(target.Type()))
		}
		return err
	})
}

// parsed returns a function that replaces a parser's error by one that says which values are valid.
func parsed[T any](value T, err error) func(text, want string) (T, error) {
	return func(text, want string) (T, error) {
		if err != nil {
			err = fmt.Errorf("want %s; have %q", want, text)
		}
		return value, err
	}
}

func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if _, number := strconv.ParseFloat(text, 64); err != nil && number == nil {
		return 0, fmt.Errorf("has no unit; want a duration such as %ss, %sm or %sh", text, text, text)
	}
	return parsed(d, err)(text, "a duration such as 30s, 5m or 1h30m")
}

// maxShownName is the length up to which an error shows a file name that has neither a folder nor an extension. A
// longer one may be a secret that the user gave instead of a path.
const maxShownName = 24

// existingFile returns an error if the path does not name a file. An empty path is valid: it means that the setting is
// not set.
func existingFile(path string) (string, error) {
	shown := strconv.Quote(path)
	if len(path) > maxShownName && filepath.Dir(path) == "." && filepath.Ext(path) == "" {
		shown = "the name that it holds, which is not shown: it could be the secret itself"
	}
	switch info, err := os.Stat(path); {
	case path == "":
		return "", nil
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("want the path of a file; there is none at %s", shown)
	case err != nil:
		if reason, ok := errors.AsType[*fs.PathError](err); ok {
			err = reason.Err
		}
		return "", fmt.Errorf("want the path of a file; %s cannot be read: %w", shown, err)
	case info.IsDir():
		return "", fmt.Errorf("want the path of a file; %s is a folder", shown)
	}
	return path, nil
}

// logLevel is the level below which lines are not logged.
type logLevel slog.Level

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *logLevel) UnmarshalText(text []byte) error {
	if (*slog.Level)(l).UnmarshalText(text) != nil {
		return fmt.Errorf("want debug, info, warn or error; have %q", text)
	}
	return nil
}

// address is a listen address. A port without a host, as in the variable PORT, means all interfaces.
type address string

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *address) UnmarshalText(text []byte) error { //nolint:unparam // the interface's signature
	s := string(text)
	if s != "" && strings.Trim(s, "0123456789") == "" {
		s = ":" + s
	}
	*a = address(s)
	return nil
}

// fileMode is the permissions of a file, written in octal.
type fileMode fs.FileMode

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *fileMode) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 8, 32)
	if err != nil || n > 0o777 {
		return fmt.Errorf("want permissions in octal, such as 660; have %q", text)
	}
	*m = fileMode(n)
	return nil
}
