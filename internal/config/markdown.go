package config

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

//go:generate go run ./gen

// Markdown writes the reference page of all settings, docs/configuration.md.
func Markdown(w io.Writer) error {
	b := bufio.NewWriter(w)
	b.WriteString(preface)
	b.WriteString("\n## Where Leat departs from Kafka\n\n| setting | difference |\n| --- | --- |\n")
	for i := range Table {
		if d := &Table[i]; d.Difference != "" {
			fmt.Fprintf(b, "| `%s` (%s) | %s |\n", d.Name, d.Scope, cell(d.Difference))
		}
	}
	for _, s := range []struct {
		scope Scope
		title string
	}{
		{ScopeBroker, "Server settings"}, {ScopeTopic, "Topic settings"},
		{ScopeGroup, "Group settings"}, {ScopeClientMetrics, "Client metrics settings"},
	} {
		fmt.Fprintf(b, "\n## %s\n\n| name | type | default | allowed | %s | meaning |\n| --- | --- | --- | --- | --- | --- |\n",
			s.title, map[bool]string{true: "changes", false: "falls back to"}[s.scope == ScopeBroker])
		for d := range Defs(s.scope) {
			writeRow(b, d)
		}
	}
	return b.Flush()
}

const preface = `# Configuration

<!-- Generated from the table of settings by "go generate ./internal/config"; do not edit. -->

Settings have Kafka's names and meanings. They come from, weakest first: the defaults below, a file
(` + "`leat serve --config server.properties`" + `, Java properties, UTF-8), the environment, the command line
(` + "`--set name=value`" + `). The environment variable of a setting is ` + "`LEAT_`" + ` and its name in capitals with
underscores for dots: ` + "`LEAT_ADVERTISED_LISTENERS`" + `; an empty variable counts as not given. ` + "`LEAT_DATA`" + ` names
the data directory (` + "`log.dirs`" + `). When several names stand for one thing (` + "`log.retention.ms`" + `,
` + "`log.retention.hours`" + `), the one from the strongest source wins.

A name that is not known is a warning that names the nearest known one. A value that is not allowed, or a
setting that is not built and could not be ignored safely, stops the start.

"changes" says how a server setting changes while the server runs: not at all (read-only), per broker, or for
all brokers (` + "`leat config set`" + `). Topic and group settings can always be changed.
`

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func writeRow(b *bufio.Writer, d *Def) {
	def := "`" + d.Default + "`"
	switch {
	case d.Null:
		def = "none"
	case d.Default == "":
		def = "empty"
	}
	fifth := d.Update.String()
	if d.Scope != ScopeBroker {
		var names []string
		for _, s := range d.Synonyms {
			names = append(names, "`"+s.Name+"`")
		}
		fifth = strings.Join(names, ", ")
	}
	doc := d.Doc
	switch d.Effect {
	case NoEffect:
		doc = "*No effect.* " + doc
	case NotBuilt:
		doc = "*Not built; only the default is accepted.* " + doc
	}
	fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s | %s |\n", d.Name, d.Type, cell(def), cell(d.Allowed()), fifth, cell(doc))
}
