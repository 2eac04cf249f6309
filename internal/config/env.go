package config

import (
	"slices"
	"strings"
)

// DataVariable is the environment variable that names the data directory; it
// stands for log.dirs.
const DataVariable = "LEAT_DATA"

// ownVariables are read by other parts of Leat, or set by Kubernetes for a
// service called "leat"; they are no settings.
var ownVariables = []string{"LEAT_BOOTSTRAP", "LEAT_REQUIRE_ALL"}

// EnvName is the environment variable of a broker setting: LEAT_ and the name in
// capitals with underscores for dots; the prefix "leat." is not repeated.
func EnvName(setting string) string {
	return "LEAT_" + strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(setting, "leat."), ".", "_"))
}

// env takes the settings of the environment. An empty variable counts as not given.
func (l *loader) env(environ []string) error {
	vars := map[string]string{}
	for _, e := range environ {
		if name, text, ok := strings.Cut(e, "="); ok && strings.HasPrefix(name, "LEAT_") && text != "" {
			vars[name] = text
		}
	}
	names := make([]string, 0, len(vars))
	for name := range vars {
		names = append(names, name)
	}
	slices.Sort(names)
	_, dirs := vars[EnvName("log.dirs")]
	_, dir := vars[EnvName("log.dir")]
	for _, name := range names {
		setting, ok := indexOnce().byEnv[name]
		switch {
		case name == DataVariable && (dirs || dir):
			continue // the exact name is the stronger one
		case name == DataVariable:
			setting = "log.dirs"
		case !ok:
			l.strangeVariable(name)
			continue
		}
		if err := l.take(setting, vars[name], name, layerEnv); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) strangeVariable(name string) {
	if slices.Contains(ownVariables, name) || strings.HasPrefix(name, "LEAT_SERVICE_") ||
		name == "LEAT_PORT" || strings.HasPrefix(name, "LEAT_PORT_") || strings.HasPrefix(name, "LEAT_TEST_") {
		return
	}
	if why, ok := removedNames[strings.ToLower(strings.ReplaceAll(name[len("LEAT_"):], "_", "."))]; ok {
		l.warns = append(l.warns, Warning{Kind: Removed, Name: name, Text: "ignored: " + why})
		return
	}
	hint := ""
	if near := nearestOf(name, func(yield func(string) bool) {
		for v := range indexOnce().byEnv {
			if !yield(v) {
				return
			}
		}
	}); near != "" {
		hint = "; did you mean " + near + "?"
	}
	l.warns = append(l.warns, Warning{Kind: Unknown, Name: name, Text: "no setting has this variable" + hint})
}
