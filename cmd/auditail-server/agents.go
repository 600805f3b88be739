package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/auditail/auditail/internal/server"
)

func agentsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "agents --store DIR",
		Short: "List the enrolled agents and how far their logs have come",
		Args:  cobra.NoArgs,
	}
	o := storeOptions(c)
	asJSON := c.Flags().Bool("json", false, "print one JSON array")
	c.RunE = func(c *cobra.Command, _ []string) error {
		config, err := o.config()
		if err != nil {
			return err
		}
		all, err := server.Agents(config, deps(c.ErrOrStderr(), slog.LevelInfo))
		if err != nil {
			return err
		}
		if *asJSON {
			e := json.NewEncoder(c.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(all)
		}
		w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "LOG\tENROLLED\tEPOCH\tNEXT BATCH\tLAST SEALED\tNEXT BY\tSTATE")
		for _, a := range all {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", a.Log, clock(a.Enrolled), a.Epoch, a.NextBatch, clock(a.LastSealed), clock(a.NextBy), state(a))
		}
		return w.Flush()
	}
	return c
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// state sums up what an operator should look at.
func state(a server.AgentStatus) string {
	var words []string
	switch {
	case a.Epoch == 0:
		words = append(words, "nothing received")
	case a.Late:
		words = append(words, "LATE")
	case a.NextBy.IsZero():
		words = append(words, "closed")
	default:
		words = append(words, "on time")
	}
	if a.Forks > 0 {
		words = append(words, "FORKED")
	}
	if a.Owed > 0 {
		words = append(words, fmt.Sprintf("%d payloads owed", a.Owed))
	}
	for _, epoch := range a.Unclosed {
		words = append(words, fmt.Sprintf("epoch %04d not closed", epoch))
	}
	return strings.Join(words, ", ")
}
