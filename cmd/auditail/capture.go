package main

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"time"

	"github.com/auditail/auditail/agent/capture"
	"github.com/auditail/auditail/agent/capture/keyed"
	"github.com/auditail/auditail/internal/config"
	"github.com/auditail/auditail/internal/durable"
	"github.com/auditail/auditail/internal/keys"
	"github.com/auditail/auditail/internal/redact"
)

// loadCaptureKeys reads the keys of the keyed hashes, or makes their file.
func loadCaptureKeys(fsys durable.FS, cfg *config.Config) (keyed.Keys, error) {
	secret := cfg.Capture.HMACKey
	list, err := readCaptureKeys(secret)
	if errors.Is(err, fs.ErrNotExist) && secret.File != "" {
		list = keyed.Keys{keyed.New(time.Now())}
		if err := keys.Create(fsys, secret.File, list.Marshal()); err != nil {
			return nil, fmt.Errorf("make the capture key: %w", err)
		}
		return list, nil
	}
	return list, err
}

func readCaptureKeys(secret config.Secret) (keyed.Keys, error) {
	data, err := secret.Resolve()
	if err != nil {
		return nil, fmt.Errorf("read the capture key: %w", err)
	}
	list, err := keyed.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("read the capture key from %s: %w", secret, err)
	}
	return list, nil
}

// newPolicy makes the capture policy of an input.
func newPolicy(from *config.Capture, input string, key keyed.Key) (*capture.Policy, error) {
	to := capture.Config{
		Default: capture.Mode(from.Default), Recipients: from.Recipients, Unparsed: capture.Mode(from.Unparsed), Pseudonyms: from.Pseudonyms,
	}
	for _, r := range from.Rules {
		to.Rules = append(to.Rules, capture.Rule{
			Input: r.Input, Model: r.Model, Workspace: r.Workspace, Direction: r.Direction, Mode: capture.Mode(r.Mode),
		})
	}
	for _, d := range from.Detectors {
		pattern, err := regexp.Compile(d.Pattern)
		if err != nil {
			return nil, fmt.Errorf("capture detector %s: %w", d.Name, err)
		}
		to.Detectors = append(to.Detectors, redact.Pattern{Name: d.Name, Regex: pattern, Check: redact.Check(d.Check)})
	}
	return capture.New(to, key, input)
}
