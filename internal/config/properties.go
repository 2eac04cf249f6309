package config

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Property is one entry of a properties file.
type Property struct {
	Key, Value string
	Line       int // where the entry begins, from 1
}

// maxPropertiesFile bounds what is read, in bytes.
const maxPropertiesFile = 4 << 20

// ParseProperties reads a Java properties file: "key = value", "key: value" or
// "key value", comments by # or !, a backslash at the end of a line to go on, the
// escapes \t \n \r \f \uXXXX and \ before any other character. The text is UTF-8.
// Entries come in order; of equal keys the later one is meant to win.
func ParseProperties(r io.Reader) ([]Property, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxPropertiesFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxPropertiesFile {
		return nil, fmt.Errorf("longer than %d bytes: this is no properties file", maxPropertiesFile)
	}
	if i := bytes.IndexByte(data, 0); i >= 0 { // UTF-16, or no text at all: its settings would all be unknown
		return nil, fmt.Errorf("a zero byte at %d: this is no text in UTF-8", i)
	}
	var props []Property
	lines := bufio.NewScanner(strings.NewReader(strings.TrimPrefix(string(data), "\ufeff")))
	lines.Buffer(nil, maxPropertiesFile+1)
	lines.Split(splitLines)
	for n := 0; lines.Scan(); {
		n++
		begin := n
		line := strings.TrimLeft(lines.Text(), " \t\f")
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		var whole strings.Builder
		for continues(line) {
			whole.WriteString(line[:len(line)-1])
			line = ""
			if !lines.Scan() {
				break
			}
			n++
			line = strings.TrimLeft(lines.Text(), " \t\f")
		}
		whole.WriteString(line)
		p, err := parseProperty(whole.String())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", begin, err)
		}
		p.Line = begin
		props = append(props, p)
	}
	return props, lines.Err()
}

// splitLines ends a line at \n, \r or \r\n.
func splitLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	for i, b := range data {
		switch {
		case b == '\n':
			return i + 1, data[:i], nil
		case b == '\r' && i+1 < len(data):
			if data[i+1] == '\n' {
				return i + 2, data[:i], nil
			}
			return i + 1, data[:i], nil
		case b == '\r' && atEOF:
			return i + 1, data[:i], nil
		}
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// continues tells whether a line ends in an odd number of backslashes.
func continues(line string) bool {
	n := len(line) - len(strings.TrimRight(line, `\`))
	return n%2 == 1
}

func parseProperty(line string) (Property, error) {
	end := len(line)
	for i := 0; i < len(line); i++ {
		if line[i] == '\\' {
			i++
		} else if strings.IndexByte("=: \t\f", line[i]) >= 0 {
			end = i
			break
		}
	}
	rest := strings.TrimLeft(line[end:], " \t\f")
	if rest != "" && (rest[0] == '=' || rest[0] == ':') {
		rest = strings.TrimLeft(rest[1:], " \t\f")
	}
	key, err := unescape(line[:end])
	if err != nil {
		return Property{}, err
	}
	value, err := unescape(rest)
	return Property{Key: key, Value: value}, err
}

var errUnicodeEscape = errors.New(`\u needs four hexadecimal digits`)

func unescape(s string) (string, error) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			break
		}
		switch s[i] {
		case 't':
			b.WriteByte('\t')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 'f':
			b.WriteByte('\f')
		case 'u':
			r, n, err := unicodeEscape(s[i-1:])
			if err != nil {
				return "", err
			}
			b.WriteRune(r)
			i += n - 2
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), nil
}

// unicodeEscape decodes \uXXXX, or two of them that are a surrogate pair; n is the
// number of bytes it took.
func unicodeEscape(s string) (r rune, n int, err error) {
	unit := func(s string) (rune, bool) {
		if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
			return 0, false
		}
		u, err := strconv.ParseUint(s[2:6], 16, 16)
		return rune(u), err == nil
	}
	r, ok := unit(s)
	if !ok {
		return 0, 0, errUnicodeEscape
	}
	if utf16.IsSurrogate(r) {
		if low, ok := unit(s[6:]); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
			return utf16.DecodeRune(r, low), 12, nil
		}
		return utf8.RuneError, 6, nil
	}
	return r, 6, nil
}
