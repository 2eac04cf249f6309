package serve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leat-stream/leat/internal/cli/out"
	"github.com/leat-stream/leat/internal/config"
	"github.com/leat-stream/leat/internal/server"
)

// --join alone is enough: the node listens where the cluster reaches it, and takes its
// id from there.
func TestJoin(t *testing.T) {
	var got *config.Config
	cmd := Command(func(_ context.Context, cfg *config.Config, _ []config.Warning) error {
		got = cfg
		return nil
	})
	cmd.SetArgs([]string{"--join", "127.0.0.1:19093"})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got.Listeners()) != "[PLAINTEXT://127.0.0.1:9092 CONTROLLER://127.0.0.1:9093]" || !got.TakesNodeID() || got.String(config.LeatJoin) != "127.0.0.1:19093" {
		t.Errorf("%v, takes its id: %v, joins %s", got.Listeners(), got.TakesNodeID(), got.String(config.LeatJoin))
	}
	_, _, err := Flags{Join: "here"}.Load(nil)
	if err == nil || !strings.HasPrefix(err.Error(), "leat.join=here (--set): this is no address of a node") {
		t.Error(err)
	}
}

// TestExitOfARemovedServer: it ends with a code by which a supervisor leaves it alone; other failures do not.
func TestExitOfARemovedServer(t *testing.T) {
	for end, want := range map[error]int{
		nil: out.ExitOK, errors.New("failed"): out.ExitFailure, fmt.Errorf("broker 3: %w", server.ErrRemoved): out.ExitRemoved,
	} {
		cmd := Command(Marked(func(context.Context, *config.Config, []config.Warning) error { return end }))
		cmd.SetArgs(nil)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		err := cmd.Execute()
		if code := out.Code(err); code != want || end != nil && err.Error() != end.Error() {
			t.Errorf("%v: exit code %d, not %d: %v", end, code, want, err)
		}
	}
	unit, err := os.ReadFile("../../../deploy/leat.service")
	if err != nil || !strings.Contains(string(unit), fmt.Sprintf("RestartPreventExitStatus=%d\n", out.ExitRemoved)) {
		t.Errorf("the unit does not name the code: %v", err)
	}
}

// TestWrongSettings: in a flag they are wrong flags, for the exit code; in a file they are not.
func TestWrongSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "server.properties")
	if err := os.WriteFile(file, []byte("num.partitions=none\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, all := range map[int][][]string{
		out.ExitUsage:   {{"--set", "num.partitions=none"}, {"--set", "num.partitions"}, {"--join", "here"}},
		out.ExitFailure: {{"--config", file}, {"--config", file + ".old"}},
	} {
		for _, args := range all {
			cmd := Command(func(context.Context, *config.Config, []config.Warning) error { return nil })
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			cmd.SetArgs(args)
			if err := cmd.Execute(); out.Code(err) != want {
				t.Errorf("%q: exit %d, want %d: %v", args, out.Code(err), want, err)
			}
		}
	}
}

// A node that joined and is started again with nothing goes by what its data directory
// remembers.
func TestJoinedBefore(t *testing.T) {
	dir := t.TempDir()
	first, _, err := Flags{Join: "127.0.0.1:19093", Sets: []string{"log.dirs=" + dir}}.Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, config.PlaceFile), first.Place(), 0o644); err != nil {
		t.Fatal(err)
	}
	again, _, err := Flags{}.Load([]string{"LEAT_DATA=" + dir})
	if err != nil || fmt.Sprint(again.Listeners()) != fmt.Sprint(first.Listeners()) || again.String(config.LeatJoin) != "127.0.0.1:19093" {
		t.Errorf("%v: joins %q, listens at %v", err, again.String(config.LeatJoin), again.Listeners())
	}
}
