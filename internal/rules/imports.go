// Package rules holds the laws of the source tree as tests: which package may import
// which, how large a file may grow, and what pure packages may touch. Think hard
// before changing a line here; the layering is the architecture.
package rules

// layer is what one package may import of this module, by path below the module;
// "pure" packages in addition never import os, net, sync or time-keeping packages.
type layer struct {
	pure    bool
	imports []string
}

// layers is the table of docs/architecture.md. A package that is not in it fails the
// test: it has to be thought about first.
var layers = map[string]layer{
	// foundation
	"internal/env":      {},
	"internal/mutant":   {pure: true},
	"internal/config":   {},
	"internal/record":   {pure: true},
	"internal/schema":   {pure: true},
	"internal/wire":     {pure: true},
	"internal/nodewire": {pure: true},
	"internal/forming":  {pure: true, imports: []string{"internal/nodewire"}},
	// disk
	"internal/log/journal": {imports: []string{"internal/env"}},
	"internal/log":         {imports: []string{"internal/env", "internal/record", "internal/log/journal"}},
	// state
	"internal/machine":  {imports: []string{"internal/env"}},
	"internal/metadata": {pure: true, imports: []string{"internal/config", "internal/schema", "internal/machine"}},
	"internal/group":    {pure: true, imports: []string{"internal/metadata", "internal/schema", "internal/machine"}},
	"internal/quorum":   {imports: []string{"internal/env", "internal/machine", "internal/nodewire"}},
	"internal/replica":  {imports: []string{"internal/env", "internal/record", "internal/log", "internal/metadata"}},
	// requests
	"internal/api": {imports: []string{
		"internal/nodewire",
		"internal/env", "internal/config", "internal/record", "internal/wire", "internal/machine",
		"internal/metadata", "internal/group", "internal/replica",
	}},
	"internal/transport": {imports: []string{"internal/env", "internal/nodewire"}},
	"internal/peer":      {imports: []string{"internal/env", "internal/nodewire", "internal/transport"}},
	"internal/node": {imports: []string{
		"internal/nodewire", "internal/peer", "internal/forming",
		"internal/env", "internal/config", "internal/record", "internal/log", "internal/machine", "internal/metadata",
		"internal/group", "internal/quorum", "internal/replica", "internal/api",
	}},
	"internal/broker": {imports: []string{
		"internal/env", "internal/config", "internal/log", "internal/machine", "internal/metadata",
		"internal/group", "internal/replica", "internal/api", "internal/peer", "internal/node",
	}},
	"internal/server": {imports: []string{"internal/env", "internal/config", "internal/broker"}},
	// public
	"":         {imports: []string{"internal/config", "internal/server"}},
	"leattest": {imports: []string{""}},
	// edge
	"internal/cli": {imports: []string{"internal/config", "internal/server", "internal/env"}},
	"cmd/leat":     {imports: []string{"internal/cli", "internal/config", "internal/server"}},
}

// everywhere is what any package may import: it is nothing in a normal build.
var everywhere = []string{"internal/mutant"}

// cliOnly is what the folders of the command line may import beside the rest: the
// formats that "leat log dump" reads offline, Leat's own fields of Kafka's messages, and
// each other.
var cliOnly = []string{
	"internal/log", "internal/log/journal", "internal/record", "internal/schema", "internal/quorum",
	"internal/metadata", "internal/group", "internal/machine", "internal/nodewire", "internal/cli/*",
}

// apart are the folders that are no part of the product: generators, measuring
// programs, and what only tests use. They may import anything, and no package of the
// product may import them.
var apart = []string{
	"bench", "bench/*", "conformance/*", "internal/rules", "internal/sim", "internal/sim/*", "internal/log/crashtest",
	"internal/config/gen", "internal/schema/gen", "internal/wire/gen", "internal/log/journal/cmd/*",
}
