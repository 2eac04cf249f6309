package configcmd

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/leat-stream/leat/internal/cli/conn"
	"github.com/leat-stream/leat/internal/cli/out"
	"github.com/leat-stream/leat/internal/config"
)

type setting struct {
	Name       string  `json:"name"`
	Scope      string  `json:"scope"`
	Type       string  `json:"type"`
	Default    *string `json:"default"` // null: there is none
	Allowed    string  `json:"allowed"`
	Changes    string  `json:"changes,omitempty"` // how a server setting changes at run time
	Effect     string  `json:"effect"`            // built, none, not built
	Doc        string  `json:"doc"`
	Difference string  `json:"difference,omitempty"`
	Variable   string  `json:"variable,omitempty"`
}

func listCommand(e *conn.Env) *cobra.Command {
	var scope string
	var long bool
	cmd := &cobra.Command{
		Use:   "list [WORD...]",
		Short: "List every setting that there is, with default and meaning (needs no server)",
		Example: `  leat config list
  leat config list retention --scope topic
  leat config list listeners --long`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(_ *cobra.Command, args []string) error {
			scopes := map[string][]config.Scope{"broker": {config.ScopeBroker}, "topic": {config.ScopeTopic}, "group": {config.ScopeGroup},
				"all": {config.ScopeBroker, config.ScopeTopic, config.ScopeGroup, config.ScopeClientMetrics}}[scope]
			if scopes == nil {
				return out.Usagef("--scope=%s: use broker, topic, group or all", scope)
			}
			all := []setting{}
			for _, s := range scopes {
				for d := range config.Defs(s) {
					if matches(d, args) {
						all = append(all, describeDef(d))
					}
				}
			}
			if long && !e.JSON() {
				writeLong(e, all)
				return nil
			}
			return e.Emit(all, listTable(all, scope == "all"))
		},
	}
	cmd.Flags().StringVar(&scope, "scope", "all", "which settings: broker, topic, group or all")
	cmd.Flags().BoolVarP(&long, "long", "l", false, "everything about each setting")
	conn.Complete(cmd, "scope", "broker", "topic", "group", "all")
	return cmd
}

// matches tells whether all words are in the setting's name.
func matches(d *config.Def, words []string) bool {
	for _, w := range words {
		if !strings.Contains(d.Name, strings.ToLower(w)) {
			return false
		}
	}
	return true
}

func describeDef(d *config.Def) setting {
	s := setting{Name: d.Name, Scope: d.Scope.String(), Type: d.Type.String(), Allowed: d.Allowed(), Doc: d.Doc, Difference: d.Difference,
		Effect: map[config.Effect]string{config.Built: "built", config.NoEffect: "none", config.NotBuilt: "not built"}[d.Effect]}
	if !d.Null {
		s.Default = &d.Default
	}
	if d.Scope == config.ScopeBroker {
		s.Changes, s.Variable = d.Update.String(), config.EnvName(d.Name)
	}
	return s
}

func listTable(all []setting, withScope bool) out.Table {
	t := out.Table{Header: []string{"name", "default", "type", "changes", "effect"}, Empty: "no setting has such a name"}
	if withScope {
		t.Header = append(t.Header, "scope")
	}
	for _, s := range all {
		def := "-"
		if s.Default != nil {
			def = shorten(*s.Default)
		}
		row := []string{s.Name, def, s.Type, s.Changes, s.Effect}
		if withScope {
			row = append(row, s.Scope)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func shorten(s string) string {
	const most = 40
	if len(s) > most {
		return s[:most-1] + "…"
	}
	return s
}

func writeLong(e *conn.Env, all []setting) {
	for i, s := range all {
		if i > 0 {
			e.Line("")
		}
		e.Line(e.Bold(s.Name))
		def := "none"
		if s.Default != nil {
			def = *s.Default
		}
		for _, l := range [][2]string{{"default", def}, {"type", s.Type}, {"allowed", s.Allowed}, {"changes", s.Changes},
			{"variable", s.Variable}, {"effect", s.Effect}, {"meaning", s.Doc}, {"unlike Kafka", s.Difference}} {
			if l[1] != "" {
				e.Line("  " + l[0] + ": " + l[1])
			}
		}
	}
}
