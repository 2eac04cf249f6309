package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// unread are settings whose documentation says what they do, and that nothing
// reads yet. The list may only get shorter.
var unread = []string{
	"leat.unauthenticated.request.max.bytes", "log.flush.offset.checkpoint.interval.ms", "max.connections.per.ip",
	"max.connections.per.ip.overrides", "metadata.log.max.record.bytes.between.snapshots", "metadata.log.max.snapshot.interval.ms",
	"queued.max.requests", "request.timeout.ms", "socket.receive.buffer.bytes", "socket.send.buffer.bytes",
}

// A setting that claims to do something is read by the program.
func TestBuiltSettingsAreRead(t *testing.T) {
	var source strings.Builder
	for _, root := range []string{"..", "../../cmd"} {
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			name := d.Name()
			if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			if strings.HasPrefix(name, "table_") || name == "names.go" {
				return nil
			}
			b, err := os.ReadFile(path)
			source.Write(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	read := map[string]bool{}
	for _, n := range unread {
		read[n] = true
	}
	for _, word := range regexp.MustCompile(`"[a-z.]+"|\b[A-Z]\w+\b`).FindAllString(source.String(), -1) {
		read[strings.Trim(word, `"`)] = true
	}
	for i := range Table {
		for _, s := range Table[i].Synonyms {
			read[s.Name] = true // by ResolveTopic and its like
		}
	}
	for d := range Defs(ScopeBroker) {
		if d.Effect == Built && !read[d.Name] && !read[constant(d.Name)] {
			t.Errorf("%s claims to do something, and nothing reads it: wire it, or make it NoEffect and say why", d.Name)
		}
	}
}

// constant is the name of a setting's constant in names.go.
func constant(name string) string {
	var b strings.Builder
	for _, part := range strings.Split(name, ".") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}
