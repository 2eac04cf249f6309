package inspect

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/leat-stream/leat/internal/cli/out"
)

// checkpoint reads a file of Kafka's text form: version, number of lines, lines.
func (d *dumper) checkpoint(f *os.File, size int64) error {
	b, ok, err := d.whole(f, size)
	if err != nil || !ok {
		return err
	}
	lines := strings.SplitAfter(string(b), "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	columns := []string{"topic", "partition", "offset"}
	if strings.HasPrefix(filepath.Base(d.file), "leader-epoch") {
		columns = []string{"epoch", "offset"}
	}
	want := -1
	pos := int64(0)
	for i, line := range lines {
		at := pos
		pos += int64(len(line))
		line = strings.TrimRight(line, "\r\n")
		switch i {
		case 0:
			if line != "0" {
				err = d.damage(at, 0, fmt.Sprintf("version %q instead of 0", line))
			}
		case 1:
			if want, err = strconv.Atoi(line); err != nil {
				want, err = -1, d.damage(at, 0, fmt.Sprintf("%q is no number of lines", line))
			}
		default:
			err = d.checkpointLine(at, line, columns)
		}
		if err != nil {
			return err
		}
	}
	if n := len(lines) - 2; n != want && (want >= 0 || n < 0) {
		return d.damage(pos, 0, fmt.Sprintf("%d lines instead of %d", max(n, 0), max(want, 0)))
	}
	return nil
}

func (d *dumper) checkpointLine(pos int64, line string, columns []string) error {
	words := strings.Fields(line)
	if len(words) != len(columns) || !utf8.ValidString(line) {
		return d.damage(pos, int64(len(line)), fmt.Sprintf("%q is not %s", line, strings.Join(columns, " ")))
	}
	data := map[string]any{}
	var parts []string
	for i, c := range columns {
		data[c] = words[i]
		if c != "topic" {
			n, err := strconv.ParseInt(words[i], 10, 64)
			if err != nil {
				return d.damage(pos, int64(len(line)), fmt.Sprintf("%q is no %s", words[i], c))
			}
			data[c] = n
		}
		parts = append(parts, c+" "+words[i])
	}
	return d.emit(item{Position: pos, Kind: "checkpoint", Data: data}, fmt.Sprintf("%d %s", pos, out.Printable(strings.Join(parts, " "))))
}

// textFile prints a small text file line by line.
func (d *dumper) textFile(f *os.File, size int64) error {
	b, ok, err := d.whole(f, size)
	if err != nil || !ok {
		return err
	}
	pos := int64(0)
	for _, line := range strings.SplitAfter(string(b), "\n") {
		text := strings.TrimRight(line, "\r\n")
		switch {
		case text == "":
		case !utf8.ValidString(text):
			err = d.damage(pos, int64(len(line)), "bytes that are no text")
		default:
			err = d.emit(item{Position: pos, Kind: "line", Data: text}, fmt.Sprintf("%d %s", pos, out.Printable(text)))
		}
		if err != nil {
			return err
		}
		pos += int64(len(line))
	}
	return nil
}
