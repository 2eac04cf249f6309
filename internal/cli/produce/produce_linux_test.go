package produce

import (
	"os"
	"strings"
	"testing"

	"github.com/leat-stream/leat/internal/cli/conn"
)

func TestWhoTypesIsToldHowToEnd(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	for _, c := range []struct {
		fl   flags
		e    *conn.Env
		want bool
	}{
		{flags{}, &conn.Env{In: terminal}, true},
		{flags{}, &conn.Env{In: strings.NewReader("")}, false},
		{flags{file: "f"}, &conn.Env{In: terminal}, false},
		{flags{quiet: true}, &conn.Env{In: terminal}, false},
		{flags{tombstone: true}, &conn.Env{In: terminal}, false},
	} {
		if got := c.fl.typed(c.e); got != c.want {
			t.Errorf("%+v: %v", c.fl, got)
		}
	}
}

func TestWhatIsLong(t *testing.T) {
	for _, c := range []struct {
		rate float64
		size int64
		want bool
	}{
		{0, -1, false}, {0, 100, false}, {0, 2 << 20, true}, {5, 100, true}, {5, -1, false}, {5, 0, false},
	} {
		if got := (flags{rate: c.rate}).long(c.size); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestRedirectedFileHasASize(t *testing.T) {
	name := t.TempDir() + "/in"
	if err := os.WriteFile(name, []byte("a\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, size, _, err := (flags{}).source(t.Context(), &conn.Env{In: f}); err != nil || size != 4 {
		t.Errorf("size %d, %v", size, err)
	}
}
