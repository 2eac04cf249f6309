package dev

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/leat-stream/leat/internal/cli/out"
)

// screen shows lines that scroll, and below them one line of state: in place on a
// terminal, and elsewhere again whenever it changes.
type screen struct {
	w     io.Writer
	live  bool
	width func() int

	mu    sync.Mutex
	state string
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: w, live: out.IsTerminal(w), width: func() int { return 0 }}
	if f, ok := w.(*os.File); ok && s.live {
		s.width = func() int {
			columns, _, err := term.GetSize(int(f.Fd()))
			if err != nil {
				return 0
			}
			return columns
		}
	}
	return s
}

// line shows a line that stays.
func (s *screen) line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text = out.Printable(text)
	if !s.live {
		fmt.Fprintln(s.w, text)
		return
	}
	fmt.Fprint(s.w, clear, text, "\n", s.cut())
}

// show sets the line of state.
func (s *screen) show(state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state = out.Printable(state)
	if state == s.state {
		return
	}
	s.state = state
	if !s.live {
		fmt.Fprintln(s.w, state)
		return
	}
	fmt.Fprint(s.w, clear, s.cut())
}

// end takes the line of state away.
func (s *screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live && s.state != "" {
		fmt.Fprint(s.w, clear)
	}
	s.state = ""
}

// clear goes to the beginning of the terminal's line and empties it.
const clear = "\r\x1b[K"

// cut is the state as far as it fits into one line; a longer one would be left behind.
func (s *screen) cut() string {
	width := s.width()
	if width <= 1 || len(s.state) < width {
		return s.state
	}
	return strings.ToValidUTF8(s.state[:width-1], "")
}
