// Package manpage writes the manual page of a command line, man(7), from its
// commands. One page holds all subcommands, so that what is searched for is found
// in one place.
//
// Cobra's own generator would bring a Markdown parser and templates into programs
// that are kept small.
package manpage

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Command returns the hidden command that prints the page of its program. Section
// is that of the manual: 1 for everyone, 8 for administrators.
func Command(section int) *cobra.Command {
	return &cobra.Command{
		Use: "man", Short: "Print the manual page, for packages", Args: cobra.NoArgs, Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error { return Write(cmd.OutOrStdout(), cmd.Root(), section) },
	}
}

// Write writes the page of root and of all commands below it that are not hidden.
// It carries no date: the same program gives the same bytes.
func Write(w io.Writer, root *cobra.Command, section int) error {
	var b strings.Builder
	name := root.Name()
	fmt.Fprintf(&b, ".TH %s %d \"\" \"%s %s\" \"auditail\"\n", strings.ToUpper(escape(name)), section, escape(name), escape(root.Version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.B %s\n.I command\n[\\fIflags\\fR]\n", escape(name), escape(root.Short), escape(name))
	b.WriteString(".SH DESCRIPTION\n")
	text(&b, root.Long)
	b.WriteString(".SH COMMANDS\n")
	commands(&b, root)
	if root.Example != "" {
		b.WriteString(".SH EXAMPLES\n")
		verbatim(&b, root.Example)
	}
	b.WriteString(".SH SEE ALSO\nhttps://github.com/auditail/auditail\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func commands(b *strings.Builder, parent *cobra.Command) {
	for _, c := range parent.Commands() {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		if c.Runnable() && !c.HasAvailableSubCommands() {
			fmt.Fprintf(b, ".SS %s\n", escape(c.UseLine()))
			description := c.Long
			if description == "" {
				description = c.Short + "."
			}
			text(b, description)
			c.LocalFlags().VisitAll(func(f *pflag.Flag) { flag(b, f) })
			if c.Example != "" {
				b.WriteString(".PP\n")
				verbatim(b, c.Example)
			}
		}
		commands(b, c)
	}
}

func flag(b *strings.Builder, f *pflag.Flag) {
	if f.Hidden || f.Name == "help" {
		return
	}
	value, usage := pflag.UnquoteUsage(f)
	b.WriteString(".TP\n")
	if f.Shorthand != "" {
		fmt.Fprintf(b, "\\fB\\-%s\\fR, ", escape(f.Shorthand))
	}
	fmt.Fprintf(b, "\\fB\\-\\-%s\\fR", escape(f.Name))
	if value != "" {
		fmt.Fprintf(b, " \\fI%s\\fR", escape(value))
	}
	b.WriteString("\n" + escape(usage))
	if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" {
		b.WriteString(" (default " + escape(f.DefValue) + ")")
	}
	b.WriteByte('\n')
}

// text writes paragraphs; an indented one is taken as it stands.
func text(b *strings.Builder, s string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(s), "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		if strings.HasPrefix(paragraph, " ") {
			verbatim(b, paragraph)
			continue
		}
		b.WriteString(escape(paragraph) + "\n")
	}
}

func verbatim(b *strings.Builder, s string) { b.WriteString(".nf\n" + escape(s) + "\n.fi\n") }

// escape makes roff take a text as it stands: backslashes and hyphens, and a dot or
// an apostrophe that begins a line.
func escape(s string) string {
	lines := strings.Split(strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
