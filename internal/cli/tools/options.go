package tools

import (
	"fmt"
	"os"
	"strings"

	"github.com/leat-stream/leat/internal/config"
)

// arity is whether a flag takes a value.
type arity int8

const (
	none arity = iota
	required
	optional
)

// flag is one flag of a script.
type flag struct {
	name string
	arg  arity
}

func flags(arg arity, names ...string) []flag {
	var all []flag
	for _, n := range names {
		all = append(all, flag{n, arg})
	}
	return all
}

// common are the flags of all of Kafka's client tools.
var common = append(flags(none, "help", "version"), flags(required, "bootstrap-server", "command-config", "zookeeper")...)

// options are parsed flags, in Kafka's manner: "--name value", "--name=value", any
// beginning of a name that only one flag has, and flags that may be repeated.
type options struct {
	given map[string][]string
	rest  []string // arguments that belong to no flag
}

func parse(known []flag, args []string) (*options, error) {
	o := &options{given: map[string][]string{}}
	for i := 0; i < len(args); i++ {
		arg, ok := strings.CutPrefix(args[i], "--")
		if !ok {
			o.rest = append(o.rest, args[i])
			continue
		}
		name, value, hasValue := strings.Cut(arg, "=")
		f, err := find(known, name)
		if err != nil {
			return nil, err
		}
		switch {
		case hasValue && f.arg == none:
			return nil, kafkaSays("Option %s does not take an argument", f.name)
		case hasValue, f.arg == none:
		case i+1 < len(args) && (f.arg == required || !strings.HasPrefix(args[i+1], "-")):
			i++
			value = args[i]
		case f.arg == required:
			return nil, kafkaSays("Option %s requires an argument", f.name)
		}
		o.given[f.name] = append(o.given[f.name], value)
	}
	return o, nil
}

// find finds a flag by its name or by a beginning of it that is unique.
func find(known []flag, name string) (flag, error) {
	var near []flag
	for _, f := range known {
		if f.name == name {
			return f, nil
		}
		if name != "" && strings.HasPrefix(f.name, name) {
			near = append(near, f)
		}
	}
	if len(near) == 1 {
		return near[0], nil
	}
	return flag{}, fmt.Errorf("%s is not a recognized option", name)
}

func (o *options) has(name string) bool { _, ok := o.given[name]; return ok }

// value is the last value of a flag; "" when it is not given.
func (o *options) value(name string) string {
	if v := o.given[name]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// properties gathers "name=value" values of several flags of one meaning.
func (o *options) properties(names ...string) (map[string]string, error) {
	props := map[string]string{}
	for _, flag := range names {
		for _, text := range o.given[flag] {
			name, value, ok := strings.Cut(text, "=")
			if !ok {
				return nil, kafkaSays("Invalid command line properties: '%s'", text)
			}
			props[name] = value
		}
	}
	return props, nil
}

// file reads the properties files that some flags name.
func (o *options) file(names ...string) (map[string]string, error) {
	props := map[string]string{}
	for _, flag := range names {
		path := o.value(flag)
		if path == "" {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		list, err := config.ParseProperties(f)
		if err := firstError(err, f.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, p := range list {
			props[p.Key] = p.Value
		}
	}
	return props, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
