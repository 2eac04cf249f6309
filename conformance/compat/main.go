// Command compat writes docs/compatibility.md: every API key of the Kafka release that
// Leat follows, with the versions that Leat speaks and what of it is not done; and every
// client and version that the last conformance run tried, with the result.
//
//	make conformance && make compatibility
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/leat-stream/leat/conformance/harness"
	"github.com/leat-stream/leat/internal/api"
)

func main() {
	outcomes, err := read()
	if err != nil {
		log.Fatal(err)
	}
	var b strings.Builder
	if err := write(&b, outcomes); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(harness.Root(), "docs", "compatibility.md"), []byte(b.String()), 0o644); err != nil {
		log.Fatal(err)
	}
}

// read gives the last outcome of every program against Leat, in the order of the run.
func read() ([]harness.Outcome, error) {
	name, err := harness.ResultsFile()
	if err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("no results yet: run make conformance first")
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []harness.Outcome
	for s := bufio.NewScanner(f); s.Scan(); {
		var o harness.Outcome
		if err := json.Unmarshal(s.Bytes(), &o); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if o.Broker != harness.Leat {
			continue
		}
		same := func(p harness.Outcome) bool {
			return p.Client == o.Client && p.Version == o.Version && p.Program == o.Program
		}
		if i := slices.IndexFunc(all, same); i >= 0 {
			all[i] = o
			continue
		}
		all = append(all, o)
	}
	return all, nil
}

// write writes the page.
func write(w io.Writer, outcomes []harness.Outcome) error {
	p := func(format string, args ...any) error {
		_, err := fmt.Fprintf(w, format, args...)
		return err
	}
	if err := p("# Compatibility\n\nWritten by `make compatibility` after `make conformance`; not to be edited.\n\n## Clients\n\n" +
		"Each program runs against the real binary; the same programs pass against Apache Kafka.\n\n| client | version | program | result |\n| --- | --- | --- | --- |\n"); err != nil {
		return err
	}
	for _, o := range outcomes {
		if err := p("| %s | %s | %s | %s |\n", o.Client, o.Version, o.Program, o.Result); err != nil {
			return err
		}
	}
	if err := p("\n## APIs\n\nThe version ranges of what is built are those of Apache Kafka 4.4; a test compares them, and every answer, with a running one.\n\n" +
		"| key | API | versions | not done |\n| --- | --- | --- | --- |\n"); err != nil {
		return err
	}
	built := map[int16]api.Handler{}
	for _, h := range api.Handlers(api.ClientDoor) {
		built[h.Key.Int16()] = h
	}
	var err error
	kversion.V4_4_0().EachMaxKeyVersion(func(key, _ int16) {
		if err != nil {
			return
		}
		if h, ok := built[key]; ok {
			err = p("| %d | %s | %d–%d | %s |\n", key, kmsg.NameForKey(key), h.Min, h.Max, h.NotDone)
			return
		}
		err = p("| %d | %s | – | not built, and not advertised |\n", key, kmsg.NameForKey(key))
	})
	return err
}
