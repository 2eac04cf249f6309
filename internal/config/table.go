package config

import (
	"cmp"
	"slices"
)

// makeTable puts the settings of all areas into one order.
func makeTable() []Def {
	all := slices.Concat(groupSettings, groupcfgSettings, logSettings, miscSettings, networkSettings, ownSettings, quorumSettings, remoteSettings, replicationSettings, saslSettings, shareSettings, streamsSettings, tlsSettings, topicSettings, txnSettings)
	slices.SortFunc(all, func(a, b Def) int {
		return cmp.Or(cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Name, b.Name))
	})
	return all
}
