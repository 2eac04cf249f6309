// Package cluster runs clusters of real processes under load and does to them what
// happens to machines: nodes are killed, paused, cut off, slowed down, restarted and
// have their disks filled. Every operation of the clients is recorded, and at the end
// everything is read and given to the history checker of internal/sim. Other clusters
// grow, shrink and are read from the nearest replica, by the command line and settings.
package cluster
