package config

import (
	"bufio"
	"compress/gzip"
	"os"
	"strings"
	"testing"
)

// readTSV reads a file of testdata. The files hold facts recorded from a running
// Apache Kafka 4.4.0.
func readTSV(t *testing.T, name string) [][]string {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	if strings.HasSuffix(name, ".gz") {
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		in = bufio.NewScanner(z)
	}
	var rows [][]string
	for in.Scan() {
		rows = append(rows, strings.Split(in.Text(), "\t"))
	}
	if err := in.Err(); err != nil || len(rows) == 0 {
		t.Fatalf("%s: %d rows, %v", name, len(rows), err)
	}
	return rows
}

var scopes = map[string]Scope{"broker": ScopeBroker, "topic": ScopeTopic, "group": ScopeGroup, "metrics": ScopeClientMetrics}

// Every setting of Kafka is in the table with Kafka's type, default and update
// mode, unless the table itself says how it differs.
func TestTableIsKafkas(t *testing.T) {
	kafkas := map[[2]string]bool{}
	for _, r := range readTSV(t, "kafka-settings.tsv") {
		scope, name, typ, def, update, internal := scopes[r[0]], r[1], r[2], r[3], r[4], r[5] == "internal"
		kafkas[[2]string{r[0], name}] = true
		d := Lookup(scope, name)
		if d == nil {
			t.Errorf("%s setting %s is missing", r[0], name)
			continue
		}
		if got := strings.ToUpper(d.Type.String()); got != typ {
			t.Errorf("%s: type %s, Kafka's is %s", name, got, typ)
		}
		if d.Internal != internal {
			t.Errorf("%s: internal %v, Kafka's is %v", name, d.Internal, internal)
		}
		got := d.Default
		if d.Null {
			got = "<null>"
		}
		if def == "<none>" {
			def = "<null>"
		}
		if got != def && d.Difference == "" {
			t.Errorf("%s: default %q, Kafka's is %q, and no difference is documented", name, got, def)
		}
		if scope == ScopeBroker && d.Update.String() != update && d.Difference == "" {
			t.Errorf("%s: update mode %s, Kafka's is %s, and no difference is documented", name, d.Update, update)
		}
	}
	for i := range Table {
		d := &Table[i]
		key := [2]string{d.Scope.String(), d.Name}
		if key[0] == "client-metrics" {
			key[0] = "metrics"
		}
		own := strings.HasPrefix(d.Name, "leat.") || d.Name == "http.listen" || d.Name == "pprof.enable" || d.Name == "insecure" ||
			d.Name == "super.users" || d.Name == "allow.everyone.if.no.acl.found"
		// The list that this is compared with leaves these out.
		apart := d.Name == "leader.replication.throttled.rate" || d.Name == "follower.replication.throttled.rate"
		if d.dynamicOnly() != apart {
			t.Errorf("%s: defined apart from Kafka's other settings: %v, not %v", d.Name, d.dynamicOnly(), apart)
		}
		if !kafkas[key] && !own && !apart {
			t.Errorf("%s: neither Kafka's nor ours", d.Name)
		}
	}
}

func TestTableIsSound(t *testing.T) {
	env := map[string]string{DataVariable: "the data directory"}
	for i := range Table {
		d := &Table[i]
		if i > 0 && Table[i-1].Scope == d.Scope && Table[i-1].Name >= d.Name {
			t.Errorf("%s: twice, or out of order", d.Name)
		}
		if !strings.HasSuffix(d.Doc, ".") {
			t.Errorf("%s: the documentation is no sentence: %q", d.Name, d.Doc)
		}
		if !d.Null {
			if v, err := d.Parse(d.Default); err != nil || v.Text() != d.Default {
				t.Errorf("%s: default %q parses to %q, %v", d.Name, d.Default, v.Text(), err)
			}
		}
		for _, s := range d.Synonyms {
			if BrokerDef(s.Name) == nil {
				t.Errorf("%s: synonym %s is no broker setting", d.Name, s.Name)
			}
		}
		if d.Scope == ScopeBroker {
			if other := env[EnvName(d.Name)]; other != "" {
				t.Errorf("%s and %s have the same variable", d.Name, other)
			}
			env[EnvName(d.Name)] = d.Name
			if strings.Contains(d.Name, "_") {
				t.Errorf("%s: an underscore makes the variable ambiguous", d.Name)
			}
		}
	}
}

// Every value is accepted or refused as Kafka does, with Kafka's words.
func TestValuesAreJudgedAsKafkaDoes(t *testing.T) {
	plain := strings.NewReplacer(`\\`, `\`, `\t`, "\t", `\n`, "\n")
	differ := 0
	for _, r := range readTSV(t, "kafka-values.tsv.gz") {
		d := Lookup(scopes[r[0]], r[1])
		if d == nil || d.Type == Class || d.Name == "default.replication.factor" ||
			d.Name == "cleanup.policy" && r[2] == "delete,delete" {
			continue // classes cannot be loaded; ours allows -1; ours counts a repeated word once
		}
		v, err := d.Parse(plain.Replace(r[2]))
		got := "ok\t" + v.Text()
		switch {
		case err != nil:
			got = "bad\t" + err.Error()
		case d.Sensitive():
			got = "ok\t[hidden]"
		}
		if want := r[3] + "\t" + plain.Replace(r[4]); got != want {
			if differ++; differ < 20 {
				t.Errorf("%s=%q\n got %s\nwant %s", r[1], r[2], got, want)
			}
		}
	}
}
