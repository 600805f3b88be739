package main

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"

	"github.com/auditail/auditail/internal/config"
)

const initHead = `## auditail on this host, as auditail config init found it.
##
## Lines with two hashes explain; a line with one hash shows a default or an
## example: take the hash away to set it. ` + "`auditail check`" + ` tells what is wrong,
## with line and remedy. Every key is explained in configs/README.md, of a package in
## /usr/share/doc/auditail/examples.

[agent]
## Names the log that this agent signs: <organization>/<id>. Choose both before
## the first start; lower case, digits and . _ -
# organization = "audit.example.com"     ## default: localhost
# id = "gpu-07"                          ## default: the host name
# environment = "prod"                   ## prod | staging | dev | test | other
# data_dir = "/var/lib/auditail"         ## buffer, keys and the default archive
`

const initTail = `
## What is kept of prompts and answers: none, hashed (a keyed hash and the size),
## redacted, encrypted or full.
# [capture]
# default = "hashed"

## How long each class must be kept. The class "standard" always exists.
# [retention]
# standard = "184d"

## What waits on this host's disk when outputs are away.
# [buffer]
# max_disk = "10GiB"

## Where batches go. Without any output they stay in an archive under data_dir.
## A central server:
# [[outputs.http]]
# name = "central"
# url = "https://audit.example.com"
# token = { file = "/etc/auditail/token" }
## A bucket with Object Lock:
# [[outputs.s3]]
# name = "worm"
# endpoint = "https://s3.eu-central-1.amazonaws.com"
# bucket = "acme-audit"
# prefix = "v1"

## Metrics, health and a status page, for this host alone.
# [admin]
# listen = "127.0.0.1:9600"
`

// text is the configuration for what was found.
func (l *look) text() []byte {
	var b bytes.Buffer
	b.WriteString(initHead)
	names := map[string]int{}
	for _, f := range l.found {
		names[f.name]++
		name := f.name
		if n := names[f.name]; n > 1 {
			name = fmt.Sprintf("%s-%d", f.name, n)
		}
		f.write(&b, name)
	}
	if len(l.found) == 0 {
		b.WriteString("\n## Nothing was found. Which parser fits a log: auditail try --parser auto FILE\n")
		b.WriteString("# [[inputs.file]]\n# name = \"vllm\"\n# paths = [\"/var/log/vllm/*.log\"]\n# parser = \"vllm\"\n")
	}
	b.WriteString(initTail)
	return []byte(forSystem(runtime.GOOS, b.String()))
}

// forSystem writes the paths of the text as a system has them. A path of Windows
// stands in single quotes, where a backslash is nothing but one.
func forSystem(system, text string) string {
	if system != "windows" {
		return text
	}
	return strings.NewReplacer(
		`"/var/lib/auditail"         ##`, `'C:\ProgramData\auditail\data' ##`,
		`"/etc/auditail/token"`, `'C:\ProgramData\auditail\token'`,
		`"/var/log/vllm/*.log"`, `'C:\logs\vllm\*.log'`,
	).Replace(text)
}

func (f *found) write(b *bytes.Buffer, name string) {
	hash := ""
	fmt.Fprintf(b, "\n## %s\n", f.why)
	if f.unknown {
		hash = "# "
		b.WriteString("## Write a parser of your own, see configs/parsers.toml, and take the hashes away.\n")
	}
	line := func(format string, args ...any) { fmt.Fprintf(b, hash+format+"\n", args...) }
	if f.glob == "" {
		line("[[inputs.journald]]")
		line("name = %q", name)
		line("units = [%q]", f.name+".service")
	} else {
		line("[[inputs.file]]")
		line("name = %q", name)
		line("paths = [%q]", f.glob)
	}
	line("parser = %q", f.parser)
	if f.wrapper != "" && f.wrapper != config.WrapperNone {
		line("wrapper = %q", f.wrapper)
	}
	fmt.Fprintf(b, "# %-38s ## default: the name of the input\n", fmt.Sprintf("service = %q", name))
}
