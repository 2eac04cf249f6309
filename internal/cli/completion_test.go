package cli

import (
	"os/exec"
	"strings"
	"testing"
)

// The script for bash completes in a bash that has nothing but itself.
func TestBashCompletesWithoutPackages(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err) // the checks themselves are scripts for bash
	}
	script := (&world{t: t, servers: ""}).ok("", "completion", "bash")
	for _, c := range []struct{ line, words, asked, reply string }{
		{"leat topic describe or", "leat topic describe or", "topic describe or", "orders"},
		{"leat topic describe ", "leat topic describe ''", "topic describe ", "orders bills a:b"},
		{"leat consume --group=or", "leat consume --group = or", "consume --group=or", "orders"},
		{"leat  consume a:", "leat consume a :", "consume a:", "b"},
		{"leat topic trim x --before @1h or", "leat topic trim x --before @ 1h or", "topic trim x --before @1h or", "orders"},
	} {
		var stdout, stderr strings.Builder
		cmd := exec.Command(bash, "--norc", "--noprofile", "-c", script+`
exec 3>&2
leat() { echo "${@:1}" >&3; printf 'orders\nbills\na:b\n:4\n'; }
COMP_LINE=`+quoted(c.line)+` COMP_POINT=${#COMP_LINE} COMP_TYPE=9
COMP_WORDS=(`+c.words+`) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
__start_leat leat 2>/dev/null
printf '%s\n' "${COMPREPLY[*]}"
`)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil || strings.TrimSpace(stdout.String()) != c.reply {
			t.Errorf("%q: %q, want %q (%v)", c.line, stdout.String(), c.reply, err)
		}
		if asked := strings.TrimSuffix(stderr.String(), "\n"); asked != "__complete "+c.asked {
			t.Errorf("%q: asked for %q, want %q", c.line, asked, c.asked)
		}
	}
}

func quoted(s string) string { return "'" + s + "'" }
