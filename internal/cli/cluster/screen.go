package cluster

import (
	"fmt"
	"strings"
	"time"

	"github.com/leat-stream/leat/internal/cli/out"
)

func (s *status) tables() []out.Table {
	health := "healthy"
	if !s.Healthy {
		health = "NOT HEALTHY"
	}
	head := out.Table{Rows: [][]string{
		{"cluster", s.Cluster}, {"health", health},
		{"topics", fmt.Sprint(s.Topics)}, {"partitions", fmt.Sprint(s.Partitions)},
		{"offline", fmt.Sprint(s.Offline)}, {"under-replicated", fmt.Sprint(s.Under)},
		{"below min ISR", fmt.Sprint(s.UnderMin)}, {"moving", fmt.Sprint(s.Moving)},
		{"voters behind", fmt.Sprint(s.Silent)}}}
	if v := s.versions(); v != "" {
		head.Rows = append(head.Rows, []string{"versions", v})
	}
	for _, a := range s.Attention {
		head.Rows = append(head.Rows, []string{"attention", a})
	}
	for _, m := range s.Missing {
		head.Rows = append(head.Rows, []string{"not told", m})
	}
	nodes := out.Table{
		Header: []string{"node", "address", "rack", "state", "version", "protocol", "leads", "replicas", "size", "disk free"},
		Right:  []int{0, 6, 7, 8, 9}}
	for _, b := range s.Brokers {
		state := "up"
		switch {
		case b.Fenced:
			state = "FENCED"
		case !b.Answers:
			state = "NO ANSWER"
		case b.DiskDown:
			state = "DISK OFFLINE"
		case b.DiskFull:
			state = "DISK FULL"
		}
		free := "-"
		if b.Free >= 0 && b.Total > 0 {
			free = fmt.Sprintf("%s of %s", out.Bytes(b.Free), out.Bytes(b.Total))
		}
		nodes.Rows = append(nodes.Rows, []string{fmt.Sprint(b.ID), b.Address, b.Rack, state, orDash(b.Version), orDash(b.Protocol),
			fmt.Sprint(b.Leads), fmt.Sprint(b.Replicas), sizeOrDash(b.Bytes), free})
	}
	quorum := out.Table{Header: []string{"quorum", "role", "lag", "behind"}, Right: []int{0, 2, 3}, Empty: "the metadata quorum is not told"}
	for _, m := range s.Quorum.Members {
		role := "observer"
		switch {
		case m.ID == s.Quorum.Leader && m.Voter:
			role = "leader"
		case m.Voter:
			role = "voter"
		}
		lag, behind := "-", "-"
		if m.Lag >= 0 {
			lag = fmt.Sprint(m.Lag)
		}
		if m.Behind >= 0 {
			behind = (time.Duration(m.Behind) * time.Millisecond).String()
		}
		quorum.Rows = append(quorum.Rows, []string{fmt.Sprint(m.ID), role, lag, behind})
	}
	return []out.Table{head, nodes, quorum}
}

// versions are those of Leat in one line; of several, with the nodes that run each.
func (s *status) versions() string {
	var all []string
	for _, v := range s.Software {
		if len(s.Software) == 1 {
			return v.Version
		}
		all = append(all, v.Version+" on "+ids(v.Nodes))
	}
	return strings.Join(all, "; ")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func sizeOrDash(n int64) string {
	if n < 0 {
		return "-"
	}
	return out.Bytes(n)
}
