package out

import (
	"github.com/schollz/progressbar/v3"
)

// Progress shows how far long work has come, on a terminal; elsewhere nothing.
type Progress struct{ bar *progressbar.ProgressBar }

// Progress begins a bar of total units; total below 0 is unknown. With bytes the
// units are shown as KiB, MiB and so on.
func (o *Out) Progress(total int64, what string, bytes bool) *Progress {
	if !o.Bars {
		return &Progress{}
	}
	return &Progress{progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(o.Err), progressbar.OptionSetDescription(what), progressbar.OptionShowBytes(bytes),
		progressbar.OptionShowCount(), progressbar.OptionThrottle(progressInterval), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(true), progressbar.OptionUseANSICodes(true))}
}

// progressInterval is the least time between two drawings of a bar.
const progressInterval = 100_000_000 // nanoseconds

// Add moves on by n units.
func (p *Progress) Add(n int64) {
	if p.bar != nil {
		_ = p.bar.Add64(n) // a bar that cannot be drawn is no reason to fail
	}
}

// Done takes the bar away.
func (p *Progress) Done() {
	if p.bar != nil {
		_ = p.bar.Finish() // likewise
	}
}
