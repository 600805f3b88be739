//go:build !unix

package config

import "io/fs"

// The modes that systems without Unix permissions report say nothing about who
// may write a file.
func checkConfigMode(string, fs.FileInfo) error { return nil }

func checkSecretMode(string, fs.FileInfo) error { return nil }
