package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Validate checks an encoded record (a line without LF) against the table of
// fields, and returns the first thing that is wrong with it. It says the same
// as the JSON Schema and a little more: keys stand once, times exist in the
// calendar, the action is the one of the event. Fields that the table does not
// know are allowed, as readers ignore them, but hold no null and no empty text.
//
// It is meant for tests and for people trying out a configuration; it is not
// made for speed.
func Validate(line []byte) error {
	if !utf8.Valid(line) {
		return errors.New("the line is not UTF-8")
	}
	if bytes.IndexByte(line, '\n') >= 0 {
		return errors.New("the line holds a line feed")
	}
	v := validator{decoder: json.NewDecoder(bytes.NewReader(line))}
	v.decoder.UseNumber()
	if err := v.line(); err != nil {
		return err
	}
	if missing := v.record.Missing(); missing != nil {
		return fmt.Errorf("%s is missing", missing[0])
	}
	if !v.hasSeq {
		return errors.New("agent.seq is missing")
	}
	event := string(v.record.Text(Event))
	if action, _ := EventAction(event); action != string(v.record.Text(Action)) {
		return fmt.Errorf("action is %q, but %s means %q", v.record.Text(Action), event, action)
	}
	return nil
}

// validator reads one line and remembers what the conditions depend on.
type validator struct {
	decoder *json.Decoder
	record  Record
	hasSeq  bool
}

func (v *validator) line() error {
	err := v.object(func(key string) error {
		if f, ok := Lookup(key); ok {
			return v.field(f)
		}
		switch {
		case key == "quality":
			return v.qualities()
		case slices.Contains(groups, key):
			return v.group(key)
		default:
			return v.unknown(key)
		}
	})
	if err != nil {
		return err
	}
	if _, err := v.decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the object")
	}
	return nil
}

// object reads an object and calls member for the value behind each key.
func (v *validator) object(member func(key string) error) error {
	token, err := v.token()
	if err != nil {
		return err
	}
	if token != json.Delim('{') {
		return errors.New("an object is wanted")
	}
	seen := map[string]bool{}
	for v.decoder.More() {
		token, err := v.token()
		if err != nil {
			return err
		}
		key, ok := token.(string)
		if !ok || key == "" {
			return errors.New("a key is empty")
		}
		if seen[key] {
			return fmt.Errorf("the key %q stands twice", key)
		}
		seen[key] = true
		if err := member(key); err != nil {
			return err
		}
	}
	_, err = v.token()
	return err
}

// array reads an array and calls element for each value.
func (v *validator) array(element func() error) error {
	token, err := v.token()
	if err != nil {
		return err
	}
	if token != json.Delim('[') {
		return errors.New("an array is wanted")
	}
	for v.decoder.More() {
		if err := element(); err != nil {
			return err
		}
	}
	_, err = v.token()
	return err
}

func (v *validator) token() (json.Token, error) {
	token, err := v.decoder.Token()
	if err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	return token, nil
}

func (v *validator) group(name string) error {
	return v.object(func(key string) error {
		path := name + "." + key
		if path == "agent.seq" {
			v.hasSeq = true
			return v.named(path, func() error { return v.integer(0) })
		}
		if f, ok := Lookup(path); ok {
			return v.field(f)
		}
		return v.unknown(path)
	})
}

// named puts the field's path before an error.
func (v *validator) named(path string, check func() error) error {
	if err := check(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (v *validator) field(f Field) error {
	v.record.mark(f)
	return v.named(f.String(), func() error {
		def := &fields[f]
		switch def.Kind {
		case KindInt:
			return v.ofField(f)
		case KindNumber:
			return want[json.Number](v, "a number")
		case KindBool:
			return want[bool](v, "true or false")
		case KindStrings:
			return v.array(func() error {
				_, err := v.text()
				return err
			})
		case KindJSON:
			return v.shape(def.Shape)
		default:
			text, err := v.text()
			if err != nil {
				return err
			}
			v.record.SetString(f, text)
			return checkText(f, text)
		}
	})
}

// ofField reads the integer of a field, and its range.
func (v *validator) ofField(f Field) error {
	switch f {
	case SchemaVersion:
		return v.within(Version, Version)
	case Severity:
		return v.within(1, 5)
	default:
		return v.integer(minInt)
	}
}

const minInt = -1 << 63

func (v *validator) within(low, high int64) error {
	token, err := v.token()
	if err != nil {
		return err
	}
	number, _ := token.(json.Number)
	n, err := number.Int64()
	if err != nil || n < low || n > high {
		return fmt.Errorf("an integer from %d to %d is wanted", low, high)
	}
	return nil
}

func (v *validator) integer(low int64) error { return v.within(low, 1<<63-1) }

func (v *validator) text() (string, error) {
	token, err := v.token()
	if err != nil {
		return "", err
	}
	text, ok := token.(string)
	if !ok {
		return "", errors.New("a text is wanted")
	}
	if text == "" {
		return "", errors.New("the text is empty")
	}
	return text, nil
}

func want[T json.Number | bool](v *validator, what string) error {
	token, err := v.token()
	if err != nil {
		return err
	}
	if _, ok := token.(T); !ok {
		return fmt.Errorf("%s is wanted", what)
	}
	return nil
}

// checkText checks the texts that have a form.
func checkText(f Field, text string) error {
	switch {
	case !f.Allows(text):
		return fmt.Errorf("%q is none of %s", text, strings.Join(fields[f].Values, ", "))
	case fields[f].Kind == KindTime:
		if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
			return fmt.Errorf("%q is no time of RFC 3339", text)
		}
	case f == Event:
		if _, known := EventAction(text); !known {
			return fmt.Errorf("%q is no event of the format", text)
		}
	case f == ID:
		if len(text) != 26 || strings.Trim(text, "abcdefghijklmnopqrstuvwxyz234567") != "" {
			return fmt.Errorf("%q is not 26 characters of lower-case base32", text)
		}
	case f == Salt:
		if len(text) != 11 || strings.Trim(text, base64URL) != "" {
			return fmt.Errorf("%q is not 8 bytes of base64url", text)
		}
	}
	return nil
}

const base64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func (v *validator) shape(shape Shape) error {
	switch shape {
	case Objects:
		return v.array(func() error { return v.object(v.unknown) })
	case MapInt:
		return v.object(func(string) error { return v.integer(minInt) })
	case MapText:
		return v.object(func(string) error {
			_, err := v.text()
			return err
		})
	default:
		return v.object(v.unknown)
	}
}

func (v *validator) qualities() error {
	return v.named("quality", func() error {
		return v.array(func() error {
			text, err := v.text()
			if err == nil && !slices.Contains(qualityNames[:], text) {
				err = fmt.Errorf("%q is no flag of the format", text)
			}
			return err
		})
	})
}

// unknown reads any value that holds no null and no empty text.
func (v *validator) unknown(key string) error {
	return v.named(key, func() error {
		var value any
		if err := v.decoder.Decode(&value); err != nil {
			return fmt.Errorf("read JSON: %w", err)
		}
		return checkKnown(value)
	})
}

// checkKnown refuses what the format leaves out instead of writing.
func checkKnown(value any) error {
	switch value := value.(type) {
	case nil:
		return errors.New("null is left out in this format")
	case string:
		if value == "" {
			return errors.New("the text is empty")
		}
	case []any:
		for _, element := range value {
			if err := checkKnown(element); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, member := range value {
			if err := checkKnown(member); err != nil {
				return err
			}
		}
	}
	return nil
}
