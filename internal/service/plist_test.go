package service

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

// value reads a value of a property list strictly: only the elements of Apple's DTD
// that a dictionary of launchd may have, nothing between them, every key once.
func value(d *xml.Decoder, start xml.StartElement) (any, error) {
	if len(start.Attr) > 0 {
		return nil, fmt.Errorf("<%s> has attributes", start.Name.Local)
	}
	switch start.Name.Local {
	case "true", "false":
		return start.Name.Local == "true", d.Skip()
	case "string":
		var s string
		return s, d.DecodeElement(&s, &start)
	case "integer":
		var n int
		err := d.DecodeElement(&n, &start)
		return n, err
	case "array":
		var list []any
		err := children(d, func(child xml.StartElement) error {
			v, err := value(d, child)
			list = append(list, v)
			return err
		})
		return list, err
	case "dict":
		dict, key := map[string]any{}, ""
		err := children(d, func(child xml.StartElement) (err error) {
			if key == "" {
				if child.Name.Local != "key" {
					return fmt.Errorf("<%s> has no key", child.Name.Local)
				}
				return d.DecodeElement(&key, &child)
			}
			if _, twice := dict[key]; twice {
				return fmt.Errorf("%s is there twice", key)
			}
			dict[key], err = value(d, child)
			key = ""
			return err
		})
		if err == nil && key != "" {
			err = fmt.Errorf("%s has no value", key)
		}
		return dict, err
	}
	return nil, fmt.Errorf("<%s> is none of a property list", start.Name.Local)
}

// children calls f for each element until the end of the one around them.
func children(d *xml.Decoder, f func(xml.StartElement) error) error {
	for {
		token, err := d.Token()
		if err != nil {
			return err
		}
		switch token := token.(type) {
		case xml.StartElement:
			if err := f(token); err != nil {
				return err
			}
		case xml.EndElement:
			return nil
		case xml.CharData:
			if text := strings.TrimSpace(string(token)); text != "" {
				return fmt.Errorf("text between elements: %q", text)
			}
		}
	}
}

func parsePlist(text string) (dict map[string]any, err error) {
	d := xml.NewDecoder(strings.NewReader(text))
	err = children(d, func(plist xml.StartElement) error {
		if plist.Name.Local != "plist" {
			return fmt.Errorf("<%s> in place of <plist>", plist.Name.Local)
		}
		return children(d, func(root xml.StartElement) error {
			v, err := value(d, root)
			dict, _ = v.(map[string]any)
			return err
		})
	})
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return dict, err
}

func TestPlist(t *testing.T) {
	text, err := plist(program(), "/usr/local/bin/auditail", "/Library/A & B/<auditail>.toml", "_auditail")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parsePlist(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	files := map[string]any{"NumberOfFiles": 65536}
	want := map[string]any{
		"Label":              "auditail",
		"ProgramArguments":   []any{"/usr/local/bin/auditail", "run", "--config", "/Library/A & B/<auditail>.toml"},
		"UserName":           "_auditail",
		"RunAtLoad":          true,
		"KeepAlive":          true,
		"ExitTimeOut":        20,
		"Umask":              63,
		"SoftResourceLimits": files,
		"HardResourceLimits": files,
		"StandardOutPath":    "/var/log/auditail.log",
		"StandardErrorPath":  "/var/log/auditail.log",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	// The library takes the text for a template.
	if strings.Contains(text, "{{") {
		t.Error("it has an action of the library's template language")
	}
	if _, err := plist(program(), "/opt/{{Name}}", "/etc/auditail/auditail.toml", ""); err == nil || !strings.Contains(err.Error(), "move it") {
		t.Errorf("a path like an action: %v", err)
	}
	root, err := plist(program(), "/usr/local/bin/auditail", "/etc/auditail/auditail.toml", "")
	if err != nil || strings.Contains(root, "UserName") {
		t.Errorf("without an account: %v\n%s", err, root)
	}
}
